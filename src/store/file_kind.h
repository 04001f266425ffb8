/*
 * Detects the kind of a file by its first bytes, so that an error message can
 * name what was given instead of the expected file. Local.
 */
#ifndef VOCDIST_STORE_FILE_KIND_H
#define VOCDIST_STORE_FILE_KIND_H

#include "base/err.h"

enum file_kind {
    FILE_KIND_OTHER, /* none of the following; possibly damaged */
    FILE_KIND_EMPTY,
    FILE_KIND_FOLDER,
    FILE_KIND_HDF5,
    FILE_KIND_SAFETENSORS,
    FILE_KIND_ZIP,         /* torch.save() */
    FILE_KIND_PICKLE,      /* torch.save() before PyTorch 1.6 */
    FILE_KIND_JSON,        /* starts like JSON */
    FILE_KIND_LFS_POINTER, /* text that Git LFS stores in place of a file */
};

/* VD_NOINPUT with the system's reason if `path` cannot be opened or read. Does
 * not block on a FIFO. */
enum vd_err file_kind_detect(const char *path, enum file_kind *out) VD_MUST_USE;

/* Raises VD_DATA for a Git LFS pointer, with the command that gets the file. */
enum vd_err file_kind_fail_lfs_pointer(const char *path) VD_MUST_USE;

#endif
