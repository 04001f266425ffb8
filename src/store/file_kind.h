/*
 * What a file is by its first bytes, so that one that was given in the place of
 * another is named as what it is. Local.
 */
#ifndef VOCDIST_STORE_FILE_KIND_H
#define VOCDIST_STORE_FILE_KIND_H

#include "base/err.h"

enum file_kind {
    FILE_KIND_OTHER, /* none of those below; damaged, maybe */
    FILE_KIND_EMPTY,
    FILE_KIND_FOLDER,
    FILE_KIND_HDF5,
    FILE_KIND_SAFETENSORS,
    FILE_KIND_ZIP,         /* what torch.save() writes */
    FILE_KIND_PICKLE,      /* what it wrote before PyTorch 1.6 */
    FILE_KIND_JSON,        /* or the beginning of it */
    FILE_KIND_LFS_POINTER, /* text that Git LFS puts in a file's place */
};

/* VD_NOINPUT with the system's reason when it cannot be opened. */
enum vd_err file_kind_detect(const char *path, enum file_kind *out) VD_MUST_USE;

#endif
