/*
 * The folder of a run, DIR/NAME: its paths, its lock and its append files.
 *
 *     config.yaml run.json log.txt metrics.csv steps.jsonl
 *     plan.json                                     (if the run was tuned)
 *     checkpoints/step-XXXXXXXX.h5 last best
 *     weights/last.safetensors best.safetensors     (when the run is finished)
 *
 * A session with scratch outputs only reads DIR/NAME. It writes to another
 * folder, which run_folder_close() removes. Local, on rank 0.
 */
#ifndef VOCDIST_RUN_RUN_FOLDER_H
#define VOCDIST_RUN_RUN_FOLDER_H

#include "base/err.h"
#include "run/append_file.h"
#include "run/run_lock.h"
#include "run/scratch_dir.h"
#include "run/train_state.h"

#include <stdbool.h>

struct run_folder {
    char *path, *checkpoints;           /* owned: where outputs go */
    char *own_folder, *own_checkpoints; /* owned: DIR/NAME, to resume from */
    bool is_scratch;
    struct scratch_dir scratch;
    struct run_lock lock;
    double owner_checked; /* clock_now() of the last check before a row */
    struct append_file metrics, steps;
};

/* A run_folder that is not open; run_folder_close() accepts it. */
#define RUN_FOLDER_CLOSED ((struct run_folder){.lock = {.fd = -1}})

#define RUN_PLAN_NAME "plan.json" /* the tuning plan (train/tuning.h) */

#define RUN_METRICS_HEADER                                            \
    "epoch,step,train_loss,train_box,train_class,val_loss,val_l1_px," \
    "val_accuracy,val_miou,val_loc50,images_per_s,lr,seconds"

/*
 * Creates and locks DIR/NAME, which may be a symbolic link; its files may not.
 * The log is written to log.txt as well until run_folder_close(), which must be
 * called also after an error. VD_CREATE if another process has the lock (the
 * message names host and process) or if the folder cannot be written.
 */
enum vd_err run_folder_open(struct run_folder *f, const char *dir,
                            const char *name) VD_MUST_USE;
/*
 * The same with outputs in a scratch folder. DIR/NAME is not locked, so a
 * process that uses it is not disturbed. VD_CREATE if DIR/NAME could not be
 * written.
 */
enum vd_err run_folder_open_scratch(struct run_folder *f, const char *dir,
                                    const char *name) VD_MUST_USE;
/* Opens metrics.csv and steps.jsonl, truncated to the lengths in `state`; empty
 * ones for scratch outputs. VD_DATA if the run's own file is shorter. */
enum vd_err
run_folder_open_append_files(struct run_folder *f,
                             const struct train_state *state) VD_MUST_USE;
void run_folder_close(struct run_folder *f);

/* run_lock_check() for checkpoint_writer_set_guard(): `folder` is a struct
 * run_folder. Any thread. */
enum vd_err run_folder_check_owner(void *folder) VD_MUST_USE;

/* PATH/NAME; the caller frees it. */
char *run_folder_path(const struct run_folder *f, const char *name);

#endif
