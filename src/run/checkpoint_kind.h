/* Recognizes files that are given as a checkpoint but are of another kind.
 * Local. */
#ifndef VOCDIST_RUN_CHECKPOINT_KIND_H
#define VOCDIST_RUN_CHECKPOINT_KIND_H

#include "store/h5.h"

/* VD_DATA, with the remedy, for a file of another kind (safetensors, a .pth,
 * ...); VD_NOINPUT for one that cannot be opened. */
enum vd_err checkpoint_check_kind(const char *path) VD_MUST_USE;
/* VD_DATA, with the remedy, for an HDF5 file that is not a checkpoint: a shard,
 * or a file of another program. */
enum vd_err checkpoint_check_contents(struct h5_file *f,
                                      const char *path) VD_MUST_USE;

#endif
