/*
 * A checkpoint: the whole state of a run after a step, in one HDF5 file. Values
 * have PyTorch's layout, so any rank count and any backend can read them.
 *
 *     /param /m /v /stats   float32, the graph's flat buffers
 *     /tensor               names of the parameters, in order
 *     /offset               int64, where each begins in /param
 *     attributes            format, step, size, best, config (YAML), state
 *                           (JSON), classes, graph (digest), digest (of all
 *                           these and the four arrays)
 *
 * `state` is run/train_state.h's; here it is an opaque string. Local.
 */
#ifndef VOCDIST_RUN_CHECKPOINT_H
#define VOCDIST_RUN_CHECKPOINT_H

#include "base/err.h"
#include "model/graph.h"

#include <stdbool.h>
#include <stdint.h>

/* In host memory. Arrays and texts are owned. */
struct checkpoint {
    uint64_t step; /* steps done */
    size_t n_params, n_trainable, n_stats;
    float *param, *m, *v, *stats; /* [n_params], two [n_trainable], [n_stats] */
    char *config, *state;
    char *file; /* path that was read, may be a link; NULL: not read */
    char **classes;
    int n_classes;
    int32_t size; /* of the network's input, in pixels */
    bool best;    /* the best of the run so far */
    uint64_t graph_digest;
};

/* Allocates the arrays for a graph, filled with zeros; texts are NULL. After an
 * error, clear it. */
enum vd_err checkpoint_new(struct checkpoint *c,
                           const struct graph *g) VD_MUST_USE;
/* May be a zeroed one. */
void checkpoint_clear(struct checkpoint *c);

/* XXH3-64 of all contents. */
uint64_t checkpoint_digest(const struct checkpoint *c);

/* Replaces `path` by a complete file that is on disk (store/atomic.h).
 * VD_CREATE if it cannot be created, VD_IO if it cannot be written. */
enum vd_err checkpoint_write(const struct checkpoint *c, const struct graph *g,
                             const char *path) VD_MUST_USE;

/* Reads one file, which may be a link. VD_DATA for a damaged file or one of
 * another kind; the message has the remedy. After an error there is nothing to
 * clear. */
enum vd_err checkpoint_read(struct checkpoint *c, const char *path) VD_MUST_USE;
/* Reads everything but the arrays and sets their sizes; cannot check the
 * digest, which covers the arrays. */
enum vd_err checkpoint_read_head(struct checkpoint *c,
                                 const char *path) VD_MUST_USE;
/* VD_DATA unless its tensors are those of `g`. */
enum vd_err checkpoint_check_graph(const struct checkpoint *c,
                                   const struct graph *g,
                                   const char *path) VD_MUST_USE;

/* Fails with `code`, place `where` and `remedy` unless all values are allowed
 * (model/values.h): finite, variances not negative. */
enum vd_err checkpoint_check_values(const struct checkpoint *c,
                                    const struct graph *g, enum vd_err code,
                                    const char *where,
                                    const char *remedy) VD_MUST_USE;

#endif
