/*
 * The folder of a run, DIR/NAME: who is in it, and its files.
 *
 *     config.yaml run.json log.txt metrics.csv steps.jsonl
 *     checkpoints/step-XXXXXXXX.h5 last best
 *     weights/last.safetensors best.safetensors       (when it is finished)
 *
 * Rank 0's business alone. Local.
 */
#ifndef VOCDIST_TRAIN_RUN_H
#define VOCDIST_TRAIN_RUN_H

#include "base/err.h"
#include "report/append_file.h"
#include "train/scratch.h"
#include "train/state.h"

#include <pthread.h>

struct run {
    char *folder, *checkpoints;         /* owned paths: what is written */
    char *own_folder, *own_checkpoints; /* owned: DIR/NAME and its checkpoints,
                                         * where a run goes on from; a scratch
                                         * session's `folder` is another one */
    struct scratch scratch;             /* of a scratch session */
    int lock_fd;
    char *owner; /* owned: what we wrote into .lock */
    pthread_mutex_t
        owner_lock;       /* of both: the writer of checkpoints asks, too */
    double owner_checked; /* clock_now() of the last answer for a row */
    struct append_file metrics, steps;
};

#define RUN_METRICS_HEADER                                            \
    "epoch,step,train_loss,train_box,train_class,val_loss,val_l1_px," \
    "val_accuracy,val_miou,val_loc50,images_per_s,lr,seconds"

/* Makes and locks the folder, which may be a link; its files may not.
 * VD_CREATE when another process is in it; the message names host and
 * process. */
enum vd_err run_open(struct run *r, const char *dir,
                     const char *name) VD_MUST_USE;
/*
 * The same for a scratch session of that run, in a folder of its own that is
 * removed by run_close(). DIR/NAME is looked at only: VD_CREATE where it could
 * not be written into. A process that is in it is not disturbed.
 */
enum vd_err run_open_scratch(struct run *r, const char *dir,
                             const char *name) VD_MUST_USE;
/* metrics.csv and steps.jsonl, cut back to what the state knows; in a scratch
 * session, new ones. */
enum vd_err run_open_append_files(struct run *r,
                                  const struct train_state *state) VD_MUST_USE;
void run_close(struct run *r);

/*
 * VD_CREATE once another process has taken the run over: this one was frozen
 * (a suspended machine, a node that was cut off), or the file system has no
 * locks. Asked before each checkpoint and, at most once a second, before rows.
 * A .lock that was removed is made again. `run` is a struct run; any thread.
 */
enum vd_err run_check_owner(void *run) VD_MUST_USE;

/* A path in the folder. Owned. */
char *run_path(const struct run *r, const char *name);

#endif
