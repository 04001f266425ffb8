/*
 * The parts of trainer_open() that are about the run itself: its folder,
 * where it goes on from, its run outputs, what people are told (setup_run.c,
 * run_info.c). Phases of setup.c; see there who calls them.
 */
#ifndef VOCDIST_TRAIN_SETUP_H
#define VOCDIST_TRAIN_SETUP_H

#include "store/json.h"
#include "train/trainer.h"

/* Local, rank 0: folder, lock, log, and the checkpoint to go on from. */
enum vd_err setup_open_run(struct trainer *t) VD_MUST_USE;
/* Collective: what rank 0 found. */
enum vd_err setup_broadcast_saved(struct trainer *t) VD_MUST_USE;
/* Local: the saved settings; what counts for this start only is taken out. */
enum vd_err setup_apply_saved(struct trainer *t) VD_MUST_USE;
/* Local, rank 0: the state of the checkpoint, which must fit. */
enum vd_err setup_restore_state(struct trainer *t) VD_MUST_USE;
/* Local, rank 0: config.yaml, run.json, append files, the writer of
 * checkpoints. */
enum vd_err setup_open_outputs(struct trainer *t) VD_MUST_USE;

/* Local: what computes, "cpu (oneDNN 2.6.3, avx2)". */
#define SETUP_DEVICE_MAX 128
void setup_describe_device(struct trainer *t, char *out, size_t room);

/* Local: the settings in a few lines. */
void run_info_log(const struct trainer *t);
/* Local, rank 0: run.json, the facts of this start; says what changed. */
enum vd_err run_info_write(struct trainer *t) VD_MUST_USE;

/* Local: what to change where memory ends (memory_hints.c). */
void memory_hints_set(const struct trainer *t);

/* Local, rank 0: a line for each setting that is not as in the checkpoint, and
 * for each fact that is not as in run.json, `path`, which the last start wrote
 * and this one will replace with `now` (run_diff.c). */
enum vd_err run_diff_log(const struct trainer *t, const char *path,
                         const struct json *now) VD_MUST_USE;

#endif
