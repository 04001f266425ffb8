/*
 * A thread that writes checkpoints while training continues.
 *
 * In this order, each on disk before the next begins (store/atomic.h): the
 * file, the links to it, the line "saved PATH", the removal of old files. After
 * a kill or a power loss, a run therefore resumes from the checkpoint that it
 * last reported as saved, or from a newer one. Local; one caller thread.
 *
 * If writing fails (disk full, quota), the temporary file is removed, path and
 * reason are logged, and the links and older checkpoints stay. The next start
 * or wait returns the error; all ranks agree on it and the job ends with exit
 * code 74 (train/session_save.c).
 */
#ifndef VOCDIST_RUN_CHECKPOINT_WRITER_H
#define VOCDIST_RUN_CHECKPOINT_WRITER_H

#include "run/checkpoint.h"

struct checkpoint_writer;

/* Keeps the last `keep` files and the one that `best` links to. Creates
 * `folder`, which no other process may write into; completes or removes what a
 * killed process left there. Borrows `g`. The caller frees *out. */
enum vd_err checkpoint_writer_new(struct checkpoint_writer **out,
                                  const char *folder, const struct graph *g,
                                  int keep) VD_MUST_USE;
/* Sets a guard: the thread calls it before it writes a checkpoint and before it
 * sets the links; its error becomes that checkpoint's. `ctx` is borrowed. */
void checkpoint_writer_set_guard(struct checkpoint_writer *w,
                                 enum vd_err (*may_write)(void *ctx),
                                 void *ctx);
/* Waits for the previous checkpoint, then starts writing *c as
 * step-XXXXXXXX.h5. Takes over the contents of *c and zeroes it. Returns the
 * previous checkpoint's error; *c is then unchanged. */
enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c) VD_MUST_USE;
/* Waits until the last checkpoint started is on disk; returns its error, once.
 */
enum vd_err checkpoint_writer_wait(struct checkpoint_writer *w) VD_MUST_USE;
/* Joins the thread; ignores its error. May be NULL. */
void checkpoint_writer_free(struct checkpoint_writer *w);

#endif
