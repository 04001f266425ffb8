/*
 * A training run from its settings to its last checkpoint: opens everything in
 * order, agreeing after each phase, then steps, validates, saves.
 */
#ifndef VOCDIST_TRAIN_TRAINER_H
#define VOCDIST_TRAIN_TRAINER_H

#include "backend/backend.h"
#include "base/progress.h"
#include "comm/comm.h"
#include "config/batch.h"
#include "config/config.h"
#include "data/shard.h"
#include "eval/evaluate.h"
#include "train/checkpoint.h"
#include "train/loss_meter.h"
#include "train/prefetch.h"
#include "train/run.h"
#include "train/state.h"
#include "train/step.h"

struct trainer;

/*
 * A scratch session: everything is opened as for the run that its settings
 * stand for, and works as there, but nothing of it is left behind. Run outputs
 * and checkpoints go to a scratch folder beside the run's (train/scratch.h);
 * the run itself is only looked at, also while a process is in it. Resumes
 * where the run would. The prefetch thread does not end.
 */
struct session_policy {
    bool fresh; /* look for no checkpoints, whatever `resume` says */
    bool repeat_first_batch; /* every step gets the images of the first one */
    /* Collective: what is run, on an open trainer (its parts: see below). */
    enum vd_err (*body)(struct trainer *t, void *ctx);
    void *ctx;
};

struct trainer {
    struct comm *comm;      /* borrowed */
    struct option_set *set; /* borrowed */
    struct config *config;  /* borrowed; what set's rows are written into */
    char *const *argv;      /* borrowed: the command line, for run.json */
    const struct session_policy
        *policy; /* borrowed; NULL: not a scratch session */

    struct run run;     /* rank 0 */
    char *saved_config; /* of the run so far, NULL: none */
    char *resume;       /* checkpoint to go on from, NULL: start anew */
    bool is_branch;     /* `resume` is another run's: own run outputs */
    uint64_t stop_at;   /* train.stop_at, 0: off */
    struct shard_set train, val;
    bool has_val;
    int compute_threads, loader_threads;
    struct batch_plan batch;

    struct graph graph;
    struct backend backend;
    struct weights weights;
    struct net *net;
    struct step step;
    struct checkpoint initial; /* what the first step begins with */
    struct evaluator *evaluator;
    struct checkpoint_writer *writer; /* rank 0 */
    struct prefetch_spec prefetch_spec;
    struct prefetch *prefetch;
    struct loss_meter loss_meter;
    struct result *results; /* of my replicas */
    struct train_state state;

    uint64_t last_step; /* steps in all */
    int flags_pending;  /* steps whose flags are not agreed yet */
    double waited_s;
    struct progress progress;
};

/*
 * Collective; the whole run. VD_STOPPED when it stopped early on request:
 * everything up to there is saved. The verdict is the same on all ranks, or
 * the job must be aborted (comm_close() knows).
 */
enum vd_err trainer_run(struct comm *comm, struct option_set *set,
                        struct config *config, char *const *argv) VD_MUST_USE;

/*
 * Collective: a scratch session instead, from opening to closing. Settings may
 * be changed before (options_set()), as in data.val "" for no validation;
 * `body` sees what was resolved in t->config. The verdict is trainer_run()'s,
 * or policy->body's, which is agreed or its rank's alone as any other.
 */
enum vd_err
trainer_run_session(struct comm *comm, struct option_set *set,
                    struct config *config, char *const *argv,
                    const struct session_policy *policy) VD_MUST_USE;

/* ---- its parts, for scratch sessions ---- */

/*
 * Collective: one training step on what the prefetch thread has staged;
 * state.step counts it, `results` and `step.times` tell of it. Nothing is
 * recorded: loss_meter_add() and loss_meter_flush() do that, within the epoch.
 * VD_NUMERIC, agreed, when loss or gradient are not finite; an error of one
 * rank alone (data, device) is not agreed and ends the job.
 */
enum vd_err trainer_step(struct trainer *t,
                         struct step_stats *done) VD_MUST_USE;

/* Collective: the whole validation set, or the evaluator's limit of it. Only
 * where has_val. */
enum vd_err trainer_validate(struct trainer *t,
                             struct eval_means *means) VD_MUST_USE;

/*
 * Collective: waits until the checkpoint of the state after state.step, which
 * trainer_save() began, is on disk, reads it from there and compares it with
 * what is in memory, bit for bit. VD_IO where they differ. `bytes` is the
 * file's length, on rank 0.
 */
enum vd_err trainer_verify_saved(struct trainer *t, int64_t *bytes) VD_MUST_USE;

/* ---- its other parts ---- */

/* Collective: everything up to the first step (setup.c). */
enum vd_err trainer_open(struct trainer *t) VD_MUST_USE;
void trainer_close(struct trainer *t);

/* Local, equal on all ranks: nothing is left to do, since it has all its steps
 * or its patience (train.patience) has ended. */
bool trainer_is_finished(const struct trainer *t);

/* Collective: writes the state after state.step (save.c). */
enum vd_err trainer_save(struct trainer *t, bool best) VD_MUST_USE;
/* Collective: the finished run's last and best weights, as safetensors. */
enum vd_err trainer_export(struct trainer *t) VD_MUST_USE;

/* Collective, after the first step: warns where the ranks of a node together
 * need more memory than there is (memory_hints.c). */
enum vd_err trainer_check_memory(struct trainer *t) VD_MUST_USE;

/* The network a config, a class count and an input size stand for. VD_CONFIG
 * where there is none. Local. */
enum vd_err trainer_build_graph(const struct config *config, int n_classes,
                                int32_t size, struct graph *graph) VD_MUST_USE;
/* mean and std of the input normalisation. Local. */
void trainer_normalization(const struct config *config, float mean[3],
                           float std[3]);

#endif
