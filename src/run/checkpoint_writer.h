/*
 * The thread that writes checkpoints beside training.
 *
 * In this order, each on disk before the next begins (store/atomic.h): the
 * file, the links to it, the line "saved PATH", the removal of old files. So
 * after a kill or a power loss a run resumes from what it last reported as
 * saved, or from something newer. Local.
 */
#ifndef VOCDIST_RUN_CHECKPOINT_WRITER_H
#define VOCDIST_RUN_CHECKPOINT_WRITER_H

#include "run/checkpoint.h"

struct checkpoint_writer;

/* Keeps the last `keep` files and the one that `best` links to. Removes what
 * killed processes left in `folder`, which no other process may write into. */
enum vd_err checkpoint_writer_new(struct checkpoint_writer **out,
                                  const char *folder, const struct graph *g,
                                  int keep) VD_MUST_USE;
/* From here on the thread calls `may_write` before it writes a checkpoint and
 * before it sets the links to it; an error fails that checkpoint. */
void checkpoint_writer_set_guard(struct checkpoint_writer *w,
                                 enum vd_err (*may_write)(void *ctx),
                                 void *ctx);
/* Waits for the checkpoint before, then starts writing *c, whose contents it
 * takes over, as step-XXXXXXXX.h5. */
enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c) VD_MUST_USE;
/* Waits for the last checkpoint started; returns its error. */
enum vd_err checkpoint_writer_wait(struct checkpoint_writer *w) VD_MUST_USE;
void checkpoint_writer_free(struct checkpoint_writer *w);

#endif
