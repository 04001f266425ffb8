/*
 * A session: one start of a run, from its settings to its last checkpoint.
 * Training, a dry run, overfitting a single batch and a benchmark are sessions
 * that differ only in their policy. All open the same parts in the same order,
 * so a dry run finds the errors that the run would have.
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
    /* Steps to prefetch data for; 0: up to the last step of the run, none if
     * it is finished. */
    uint64_t n_steps;
    /* Collective: the work of the open session. It returns an agreed error, or
     * one that only this rank has and that must end the job. */
    enum vd_err (*body)(struct session *s, void *ctx);
    void *ctx; /* for body; borrowed */
};

/* n_steps of a body that ends itself: more steps than it can take. */
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
    struct train_state state; /* position in the run, saved in checkpoints */
    struct progress progress;
};

/*
 * Collective: opens a session, runs policy->body, closes it. Arguments are
 * borrowed; settings of the run being resumed are written into `options` and
 * `config`. The result is the same on all ranks, or the job must be aborted
 * (comm_close() does that).
 */
enum vd_err session_run(struct comm *comm, struct option_set *options,
                        struct config *config, char *const *argv,
                        const struct session_policy *policy) VD_MUST_USE;

/* Collective: everything before the first step (session_open.c). */
enum vd_err session_open(struct session *s) VD_MUST_USE;
/* Local: waits for the session's threads and frees its parts, also after an
 * error of session_open(). Removes scratch outputs. */
void session_close(struct session *s);

/* ---- for bodies ---- */

/* Local, equal on all ranks: all steps are done. */
bool session_has_all_steps(const struct session *s);
/* Local, equal on all ranks: nothing is left to train, since all steps are
 * done or train.patience has run out. */
bool session_is_finished(const struct session *s);

/* Collective: trains the next step and counts it in state.step. With `until`
 * 0 no step is launched ahead; else, and for errors, see engine_step(). */
enum vd_err session_step(struct session *s, uint64_t until,
                         struct step_stats *done) VD_MUST_USE;

/* Local, equal on all ranks: steps are launched that session_step() has not
 * counted yet. */
bool session_is_in_flight(const struct session *s);

/* Collective: evaluates the validation set, or the first batches of it up to
 * evaluator_limit(). `means` are equal on all ranks. Needs data.has_val. */
enum vd_err session_validate(struct session *s,
                             struct eval_means *means) VD_MUST_USE;

/* Collective, after the first step: warns if the ranks of a node together need
 * more memory than it has (session_memory.c). */
enum vd_err session_check_memory(struct session *s) VD_MUST_USE;

/* Collective: starts writing a checkpoint of the state after state.step
 * (session_save.c); `best` marks it as the best so far. VD_NUMERIC, agreed, if
 * a value is not finite. Returns the error of writing the checkpoint before;
 * the writer has its own (checkpoint_writer_wait()). */
enum vd_err session_save(struct session *s, bool best) VD_MUST_USE;
/*
 * Collective: waits until that checkpoint is on disk, reads it back and
 * compares it bit by bit with the values on the device. VD_IO, agreed, if they
 * differ. Sets `bytes` to the file's length, on rank 0 only.
 */
enum vd_err session_verify_saved(struct session *s, int64_t *bytes) VD_MUST_USE;
/* Collective: writes weights/last.safetensors and weights/best.safetensors from
 * the checkpoints of that name. */
enum vd_err session_export(struct session *s) VD_MUST_USE;

#endif
