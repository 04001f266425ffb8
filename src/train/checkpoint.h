/*
 * Checkpoints: all that a run needs to go on, in one HDF5 file of canonical
 * values, so that any rank count and any backend can read it.
 *
 *     /param /m /v /stats   float32, the graph's flat buffers
 *     /tensor               names of the parameters, in order
 *     /offset               int64, where each begins in /param
 *     attributes            format, step, size, best, config (YAML), state
 *                           (JSON), classes, graph (digest), digest (of all
 *                           these and the four arrays)
 *
 * `state` belongs to the trainer: it is kept as it is.
 *
 * Written by rank 0 from a snapshot, by a thread beside training, in this
 * order: the file, the links to it, the line "saved PATH", the removal of old
 * ones; each begins when the one before is on disk (store/atomic.h). So after
 * a kill or a power cut a run goes on from what it last said it had saved, or
 * from something newer. Local.
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
    char *file; /* what was read, a link maybe; NULL: not from a file */
    char **classes;
    int n_classes;
    int32_t size; /* of the network's input */
    bool best;    /* of the run so far */
    uint64_t graph_digest;
};

/* Room for a graph's values. */
enum vd_err checkpoint_new(struct checkpoint *c,
                           const struct graph *g) VD_MUST_USE;
void checkpoint_clear(struct checkpoint *c);

/* XXH3-64 of all of it: equal bits, equal number. */
uint64_t checkpoint_digest(const struct checkpoint *c);

enum vd_err checkpoint_write(const struct checkpoint *c, const struct graph *g,
                             const char *path) VD_MUST_USE;

/*
 * VD_DATA for a damaged file. `path` may be a checkpoint, a link to one, or a
 * run's folder (its last checkpoint).
 */
enum vd_err checkpoint_read(struct checkpoint *c, const char *path) VD_MUST_USE;
/* Everything but the arrays, whose sizes are told; the digest, which covers
 * them, is not checked. */
enum vd_err checkpoint_read_head(struct checkpoint *c,
                                 const char *path) VD_MUST_USE;
/* VD_DATA unless it is of this very graph. */
enum vd_err checkpoint_check_graph(const struct checkpoint *c,
                                   const struct graph *g,
                                   const char *path) VD_MUST_USE;

/* `code` unless every value that is there is allowed (model/values.h). */
enum vd_err checkpoint_check_values(const struct checkpoint *c,
                                    const struct graph *g, enum vd_err code,
                                    const char *where,
                                    const char *remedy) VD_MUST_USE;

/*
 * "step-00000012.h5", exactly as it is written here, and nothing else: any
 * other file in the folder is the user's, and is neither read nor removed.
 */
bool checkpoint_is_name(const char *name);

/* The steps of a folder's checkpoints, by name, in rising order. */
struct checkpoint_list {
    uint64_t *steps; /* owned */
    size_t n;
};
enum vd_err checkpoint_list_read(struct checkpoint_list *list,
                                 const char *folder) VD_MUST_USE;
/* "step-00000012.h5"; "FOLDER/step-00000012.h5". Owned. */
char *checkpoint_name(uint64_t step);
char *checkpoint_path(const char *folder, uint64_t step);

/*
 * The newest checkpoint of a folder that is whole: damaged ones, and files
 * whose contents are of another step than their name, are passed over with a
 * warning. `path` is owned, NULL when there is none; VD_DATA when there are
 * some and none is whole.
 */
enum vd_err checkpoint_read_newest(struct checkpoint *c, const char *folder,
                                   char **path) VD_MUST_USE;

/* The links `last` and, if it is the best, `best` in its folder. */
enum vd_err checkpoint_link(const struct checkpoint *c,
                            const char *path) VD_MUST_USE;

/*
 * Sets the link `best` again where it is missing (a copy of the folder without
 * its links) or points to a file that is missing: to the newest checkpoint up
 * to step `last` that is marked as the best and whole. A regular file `best`
 * (a copy that followed the links) gets its own name back, if no file has it.
 * Says what it did; VD_IO when the link cannot be set.
 */
enum vd_err checkpoint_restore_best(const char *folder,
                                    uint64_t last) VD_MUST_USE;

/* ---- the writer beside training ---- */

struct checkpoint_writer;

/* Keeps the last `keep` files and what `best` points to in `folder`, which
 * nobody else writes into: what dead processes left there is removed. */
enum vd_err checkpoint_writer_new(struct checkpoint_writer **out,
                                  const char *folder, const struct graph *g,
                                  int keep) VD_MUST_USE;
/* From here on asked by the thread before it writes a checkpoint, and before
 * it sets the links to it: an error is that checkpoint's. */
void checkpoint_writer_set_guard(struct checkpoint_writer *w,
                                 enum vd_err (*may_write)(void *ctx),
                                 void *ctx);
/*
 * Starts writing *c as step-XXXXXXXX.h5 and takes its contents over; waits for
 * the one before. Sets the links.
 */
enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c) VD_MUST_USE;
/* Waits; the verdict on the last one started. */
enum vd_err checkpoint_writer_wait(struct checkpoint_writer *w) VD_MUST_USE;
void checkpoint_writer_free(struct checkpoint_writer *w);

#endif
