/*
 * Where a run continues, and the values of its first step.
 *
 * The path of a resume, one call after the other:
 *
 *     resume_find           rank 0 reads the newest whole checkpoint of the run
 *     resume_broadcast      its path and settings, to all ranks
 *     resume_apply_settings all ranks take the saved settings over
 *     resume_load           rank 0: state and values; the others: buffers
 *     resume_send_values    values and state, to all ranks
 *
 * A run without checkpoints passes through the same calls: resume_load then
 * gives the initial weights, or those of model.weights.
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

struct resume_state {
    char *path;         /* the checkpoint, NULL: the run starts from step 0 */
    char *saved_config; /* its settings as YAML, NULL: none */
    bool is_branch;     /* the checkpoint is another run's: new outputs */
    struct checkpoint values; /* of the first step, until resume_clear() */
};

/*
 * Local, rank 0: the run's newest whole checkpoint, else the one that option
 * `resume` names. VD_CREATE where `resume` contradicts what the run's folder
 * holds. Repairs the links of the folder unless it is only read (scratch
 * outputs).
 */
enum vd_err resume_find(struct resume_state *r, const struct run_folder *folder,
                        const struct config *config) VD_MUST_USE;
/* Collective. */
enum vd_err resume_broadcast(struct resume_state *r,
                             struct comm *comm) VD_MUST_USE;
/* Local: the saved settings; VD_CONFIG where one that must not change does. */
enum vd_err resume_apply_settings(struct resume_state *r,
                                  struct option_set *options,
                                  const struct config *config) VD_MUST_USE;

/* What the state of a checkpoint is checked against. All borrowed. */
struct resume_run {
    const struct config *config;
    const struct train_data *data;
    const struct train_plan *plan;
    const struct graph *graph;
};

/* Local: r->values and *state on rank 0, room for the values elsewhere.
 * VD_CONFIG for a checkpoint of other data or of more steps, VD_DATA for one
 * that is damaged. */
enum vd_err resume_load(struct resume_state *r, const struct resume_run *run,
                        bool is_root, struct train_state *state) VD_MUST_USE;
/* Collective. */
enum vd_err resume_send_values(struct resume_state *r, struct comm *comm,
                               struct train_state *state) VD_MUST_USE;

void resume_clear(struct resume_state *r);

#endif
