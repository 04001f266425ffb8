/*
 * A checkpoint: the whole state of a run after a step, in one HDF5 file of
 * canonical values, so that any rank count and any backend can read it.
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
    uint64_t step;
    size_t n_params, n_trainable, n_stats;
    float *param, *m, *v, *stats;
    char *config, *state;
    char *file; /* path that was read, maybe a link; NULL: not read */
    char **classes;
    int n_classes;
    int32_t size; /* of the network's input */
    bool best;    /* the best of the run so far */
    uint64_t graph_digest;
};

/* Allocates values for a graph; they are zeros. */
enum vd_err checkpoint_new(struct checkpoint *c,
                           const struct graph *g) VD_MUST_USE;
void checkpoint_clear(struct checkpoint *c);

/* XXH3-64 of all contents. */
uint64_t checkpoint_digest(const struct checkpoint *c);

enum vd_err checkpoint_write(const struct checkpoint *c, const struct graph *g,
                             const char *path) VD_MUST_USE;

/* Reads one file, which may be a link. VD_DATA for a damaged file or one of
 * another kind, with what to do. */
enum vd_err checkpoint_read(struct checkpoint *c, const char *path) VD_MUST_USE;
/* Everything but the arrays, whose sizes are set; the digest, which covers
 * them, is not checked. */
enum vd_err checkpoint_read_head(struct checkpoint *c,
                                 const char *path) VD_MUST_USE;
/* VD_DATA unless its tensors are those of `g`. */
enum vd_err checkpoint_check_graph(const struct checkpoint *c,
                                   const struct graph *g,
                                   const char *path) VD_MUST_USE;

/* `code` unless all values are allowed (model/values.h): finite, variances not
 * negative. */
enum vd_err checkpoint_check_values(const struct checkpoint *c,
                                    const struct graph *g, enum vd_err code,
                                    const char *where,
                                    const char *remedy) VD_MUST_USE;

#endif
