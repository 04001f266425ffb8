/*
 * Checkpoints: all that a run needs to go on, in one HDF5 file of canonical
 * values, so that any rank count and any backend can read it.
 *
 *     /param /m /v /stats   float32, the graph's flat buffers
 *     /tensor               names of the parameters, in order
 *     /offset               int64, where each begins in /param
 *     attributes            format, step, config (YAML), classes, size, graph
 *                           (digest), digest (of the four arrays), state (JSON)
 *
 * `state` belongs to the trainer: it is kept as it is.
 *
 * Written by rank 0 from a snapshot, by a thread beside training; published
 * by rename only after everything is on disk. Local.
 */
#ifndef VOCDIST_TRAIN_CHECKPOINT_H
#define VOCDIST_TRAIN_CHECKPOINT_H

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
    char **classes;
    int n_classes;
    int32_t size; /* of the network's input */
    uint64_t graph_digest;
};

/* Room for a graph's values. */
enum vd_err checkpoint_new(struct checkpoint *c,
                           const struct graph *g) VD_MUST_USE;
void checkpoint_clear(struct checkpoint *c);

/* XXH3-64 of param, m, v and stats: equal bits, equal number. */
uint64_t checkpoint_digest(const struct checkpoint *c);

/* The first thing that differs, in any bit ("weights"; static); NULL: none. */
const char *checkpoint_difference(const struct checkpoint *a,
                                  const struct checkpoint *b);

enum vd_err checkpoint_write(const struct checkpoint *c, const struct graph *g,
                             const char *path) VD_MUST_USE;

/*
 * Everything but the arrays, for building the graph first; then the arrays.
 * VD_DATA for a damaged file. `path` may be a checkpoint, a link to one, or a
 * run's folder (its last checkpoint).
 */
enum vd_err checkpoint_read_head(struct checkpoint *c,
                                 const char *path) VD_MUST_USE;
/* After read_head; VD_DATA unless it is of this very graph. */
enum vd_err checkpoint_read_values(struct checkpoint *c, const struct graph *g,
                                   const char *path) VD_MUST_USE;

/* "step-00000012.h5"; not a temporary file's name. */
bool checkpoint_is_name(const char *name);

/*
 * The newest checkpoint of a folder that is whole: damaged ones are passed
 * over with a warning. `path` is owned, NULL when there is none; VD_DATA when
 * there are some and none is whole.
 */
enum vd_err checkpoint_find_newest(const char *folder, char **path) VD_MUST_USE;

/* ---- the writer beside training ---- */

struct checkpoint_writer;

/* Keeps the last `keep` files and what `best` points to in `folder`, which
 * nobody else writes into: half-written files of dead processes are removed. */
enum vd_err checkpoint_writer_new(struct checkpoint_writer **out,
                                  const char *folder, const struct graph *g,
                                  int keep) VD_MUST_USE;
/*
 * Starts writing *c as step-XXXXXXXX.h5 and takes its contents over; waits for
 * the one before. Sets the links `last` and, if `best`, `best`.
 */
enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c,
                                    bool best) VD_MUST_USE;
/* Waits; the verdict on the last one started. */
enum vd_err checkpoint_writer_wait(struct checkpoint_writer *w) VD_MUST_USE;
void checkpoint_writer_free(struct checkpoint_writer *w);

#endif
