/* Shared by the checkpoint*.c files only. */
#ifndef VOCDIST_TRAIN_CHECKPOINT_INTERNAL_H
#define VOCDIST_TRAIN_CHECKPOINT_INTERNAL_H

#include "store/h5.h"
#include "train/checkpoint.h"

/* VD_DATA, with the way to go on, for a file of another kind (safetensors, a
 * .pth, ...); VD_NOINPUT for one that cannot be opened. */
enum vd_err checkpoint_check_kind(const char *path) VD_MUST_USE;
/* The same for HDF5 that is no checkpoint: a shard, another program's. */
enum vd_err checkpoint_check_contents(struct h5_file *f,
                                      const char *path) VD_MUST_USE;

#endif
