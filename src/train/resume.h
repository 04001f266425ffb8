/*
 * Resuming: the checkpoint that a run continues from, its settings, and the
 * values before the first step of this start.
 *
 * The calls of a start, in this order:
 *
 *     resume_find           rank 0 reads the newest intact checkpoint
 *     resume_broadcast      its path and settings, to all ranks
 *     resume_apply_settings all ranks adopt the saved settings
 *     resume_load           rank 0: state and values; the others: buffers
 *     resume_send_values    values and state, to all ranks
 *
 * A run without checkpoints uses the same calls: resume_load then gives the
 * initial weights, or those of model.weights.
 */
#ifndef VOCDIST_TRAIN_RESUME_H
#define VOCDIST_TRAIN_RESUME_H

#include "comm/comm.h"
#include "config/config.h"
#include "model/graph.h"
#include "run/checkpoint.h"
#include "run/run_folder.h"
#include "run/train_state.h"
#include "train/train_data.h"
#include "train/train_plan.h"

/* Everything is owned; zeros before resume_find(). */
struct resume_state {
    char *path;         /* the checkpoint, NULL: the run starts from step 0 */
    char *saved_config; /* its settings as YAML, NULL: none */
    bool is_branch;     /* the checkpoint is another run's: new outputs */
    bool keeps_plan;    /* train with the tuning plan of the checkpoint's run */
    struct checkpoint values; /* in host memory; may be cleared after use */
};

/*
 * Local, on rank 0: reads the run's newest intact checkpoint, else the one that
 * option `resume` names. VD_CREATE if `resume` contradicts the contents of the
 * run's folder; else errors as checkpoint_read_newest() and checkpoint_open().
 * Repairs the links `last` and `best`, unless outputs are scratch outputs.
 */
enum vd_err resume_find(struct resume_state *r, const struct run_folder *folder,
                        const struct config *config) VD_MUST_USE;
/* Collective: rank 0's path, settings and is_branch, to all ranks. */
enum vd_err resume_broadcast(struct resume_state *r,
                             struct comm *comm) VD_MUST_USE;
/* Local: adopts the saved settings, and decides keeps_plan. VD_CONFIG if one
 * that must not change was given with another value (config_resume()). */
enum vd_err resume_apply_settings(struct resume_state *r,
                                  struct option_set *options,
                                  const struct config *config) VD_MUST_USE;

/* The run that a checkpoint must belong to. All borrowed. */
struct resume_run {
    const struct config *config;
    const struct train_data *data;
    const struct train_plan *plan;
    const struct graph *graph;
};

/* Local: sets r->values and *state on the root (rank 0); elsewhere allocates
 * the values. VD_CONFIG for a checkpoint of other data or of more steps,
 * VD_DATA for a damaged one. */
enum vd_err resume_load(struct resume_state *r, const struct resume_run *run,
                        bool is_root, struct train_state *state) VD_MUST_USE;
/* Collective: broadcasts rank 0's values and state; moments only if there is a
 * checkpoint (they are zeros until then). */
enum vd_err resume_send_values(struct resume_state *r, struct comm *comm,
                               struct train_state *state) VD_MUST_USE;

/* Local. May be a zeroed one. */
void resume_clear(struct resume_state *r);

#endif
