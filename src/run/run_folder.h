/*
 * The folder of a run, DIR/NAME: its paths, its lock and the files that grow.
 *
 *     config.yaml run.json log.txt metrics.csv steps.jsonl
 *     checkpoints/step-XXXXXXXX.h5 last best
 *     weights/last.safetensors best.safetensors       (when it is finished)
 *
 * A session with scratch outputs writes to another folder, which is removed by
 * run_folder_close(), and only reads DIR/NAME. Rank 0 only. Local.
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
    double owner_checked; /* clock_now() of the last check for a row */
    struct append_file metrics, steps;
};

/* One that run_folder_close() accepts. */
#define RUN_FOLDER_CLOSED ((struct run_folder){.lock = {.fd = -1}})

#define RUN_METRICS_HEADER                                            \
    "epoch,step,train_loss,train_box,train_class,val_loss,val_l1_px," \
    "val_accuracy,val_miou,val_loc50,images_per_s,lr,seconds"

/*
 * Creates and locks DIR/NAME, which may be a symbolic link; its files may not.
 * log.txt gets the log from here on. VD_CREATE when another process is in the
 * run; the message names its host and process.
 */
enum vd_err run_folder_open(struct run_folder *f, const char *dir,
                            const char *name) VD_MUST_USE;
/*
 * The same with outputs in a scratch folder. VD_CREATE where DIR/NAME could not
 * be written; it is not locked, and a process that is in it is not disturbed.
 */
enum vd_err run_folder_open_scratch(struct run_folder *f, const char *dir,
                                    const char *name) VD_MUST_USE;
/* metrics.csv and steps.jsonl, truncated to the lengths in `state`; empty ones
 * for scratch outputs. */
enum vd_err
run_folder_open_append_files(struct run_folder *f,
                             const struct train_state *state) VD_MUST_USE;
void run_folder_close(struct run_folder *f);

/* run_lock_check() for checkpoint_writer_set_guard(): `folder` is a struct
 * run_folder. Any thread. */
enum vd_err run_folder_check_owner(void *folder) VD_MUST_USE;

/* PATH/NAME. Owned. */
char *run_folder_path(const struct run_folder *f, const char *name);

#endif
