/*
 * A session: one start of a run, from its settings to its last checkpoint.
 * Training, a dry run, an overfit check and a benchmark are sessions that
 * differ in their policy alone: all open the same parts in the same order, so
 * what a dry run finds is what the run would meet.
 */
#ifndef VOCDIST_TRAIN_SESSION_H
#define VOCDIST_TRAIN_SESSION_H

#include "base/progress.h"
#include "comm/comm.h"
#include "config/config.h"
#include "eval/evaluate.h"
#include "run/checkpoint_writer.h"
#include "run/run_folder.h"
#include "run/train_state.h"
#include "train/engine.h"
#include "train/loss_meter.h"
#include "train/resume.h"
#include "train/train_data.h"
#include "train/train_plan.h"

#include <stdbool.h>
#include <stdint.h>

struct session;

struct session_policy {
    /* Outputs go to a scratch folder that is removed at the end
     * (run/scratch_dir.h); the run's folder is read only and not locked. */
    bool scratch_outputs;
    bool fresh; /* start from step 0, whatever the run's folder holds */
    bool repeat_first_batch; /* each step gets the images of the first one */
    /* Steps to prefetch data for; 0: up to the last step of the run, none
     * where it is finished. */
    uint64_t n_steps;
    /* Collective: what the session does once it is open. Its error is agreed,
     * or its rank's alone as any other. */
    enum vd_err (*body)(struct session *s, void *ctx);
    void *ctx;
};

/* More steps than any session without an end takes. */
#define SESSION_UNLIMITED_STEPS ((uint64_t)1 << 32)

struct session {
    struct comm *comm;                   /* borrowed */
    struct option_set *options;          /* borrowed */
    struct config *config;               /* borrowed; the values of options */
    char *const *argv;                   /* borrowed: the command line */
    const struct session_policy *policy; /* borrowed */

    struct train_data data;
    struct train_plan plan;
    struct run_folder folder; /* rank 0 */
    struct resume_state resume;
    struct engine engine;
    struct evaluator *evaluator;      /* NULL: no validation set */
    struct checkpoint_writer *writer; /* rank 0 */
    struct loss_meter losses;
    struct train_state state; /* progress: what a checkpoint remembers */
    struct progress progress;
};

/*
 * Collective: opens a session, runs policy->body, closes it. The verdict is
 * the same on all ranks, or the job must be aborted (comm_close() does).
 */
enum vd_err session_run(struct comm *comm, struct option_set *options,
                        struct config *config, char *const *argv,
                        const struct session_policy *policy) VD_MUST_USE;

/* Collective: everything up to the first step (session_open.c). */
enum vd_err session_open(struct session *s) VD_MUST_USE;
/* Local. Also after an error of session_open(). */
void session_close(struct session *s);

/* ---- for bodies ---- */

/* Local, equal on all ranks: all steps are done. */
bool session_has_all_steps(const struct session *s);
/* Local, equal on all ranks: nothing is left to train, since all steps are
 * done or train.patience has run out. */
bool session_is_finished(const struct session *s);

/* Collective: trains the next step; state.step counts it. As engine_step(). */
enum vd_err session_step(struct session *s,
                         struct step_stats *done) VD_MUST_USE;

/* Collective: evaluates the validation set, or the evaluator's limit of it.
 * Only where data.has_val. */
enum vd_err session_validate(struct session *s,
                             struct eval_means *means) VD_MUST_USE;

/* Collective, after the first step: warns where the ranks of a node need more
 * memory together than it has (session_memory.c). */
enum vd_err session_check_memory(struct session *s) VD_MUST_USE;

/* Collective: starts writing a checkpoint of the state after state.step
 * (session_save.c). VD_NUMERIC where a value is not finite. */
enum vd_err session_save(struct session *s, bool best) VD_MUST_USE;
/*
 * Collective: waits until that checkpoint is on disk, reads it back and
 * compares it bit for bit with what is in memory. VD_IO where they differ.
 * `bytes` is the file's length, on rank 0.
 */
enum vd_err session_verify_saved(struct session *s, int64_t *bytes) VD_MUST_USE;
/* Collective: the last and the best weights, as safetensors. */
enum vd_err session_export(struct session *s) VD_MUST_USE;

#endif
