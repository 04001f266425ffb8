/*
 * safetensors files: the length of a JSON header in 8 bytes (little-endian),
 * the header, then the bytes of the tensors. Files are not trusted, so every
 * length is checked before it is used: no tensor is outside the file or
 * overlaps another, shapes and sizes agree, and gaps between tensors are
 * smaller than the alignment.
 *
 * All tensors are listed. Only floats of 16 and 32 bits can be read (not
 * num_batches_tracked, for example, which is I64). Local.
 */
#ifndef VOCDIST_STORE_SAFETENSORS_H
#define VOCDIST_STORE_SAFETENSORS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct json;

/* The format allows 100 MB, and parsing a hostile header takes 80 times its
 * size in memory (measured). 2 MiB are enough for about 15,000 tensors. */
#define SAFETENSORS_MAX_HEADER ((size_t)2 << 20)
#define SAFETENSORS_MAX_RANK   8

enum safetensors_type {
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_OTHER, /* cannot be read as float32 */
};

struct safetensors_tensor {
    char *name; /* owned */
    enum safetensors_type type;
    char type_name[12]; /* as in the file: "F32", "I64", ... */
    int rank;           /* 0: a scalar */
    int64_t dims[SAFETENSORS_MAX_RANK];
    size_t n;               /* elements */
    uint64_t offset, bytes; /* in the file */
};

struct safetensors {
    char *path; /* owned */
    int fd;
    struct safetensors_tensor *tensors; /* owned; sorted by offset */
    size_t n;
    struct json *header; /* owned; has __metadata__ */
};

/* VD_NOINPUT if the file cannot be opened, VD_DATA if a check above fails. */
enum vd_err safetensors_open(struct safetensors *f,
                             const char *path) VD_MUST_USE;
/* Closes and frees; accepts {0}. */
void safetensors_close(struct safetensors *f);

/* NULL if there is no tensor of this name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *f,
                                                  const char *name);
/* The text of `key` in __metadata__, borrowed; NULL if there is none. */
enum vd_err safetensors_metadata(const struct safetensors *f, const char *key,
                                 const char **out) VD_MUST_USE;
/* Reads into out [tensors[index].n]. Exact: F16 and BF16 are subsets of F32. */
enum vd_err safetensors_read_f32(const struct safetensors *f, size_t index,
                                 float *out) VD_MUST_USE;

/* ---- writing ---- */

/* One tensor to write; all borrowed. `dims` may be NULL if rank is 0, `data` if
 * there are no elements. */
struct safetensors_output {
    const char *name;
    int rank;
    const int64_t *dims;
    const float *data;
};
struct safetensors_metadata {
    const char *key, *value;
};

/* Writes all tensors as F32 in the given order, atomically (store/atomic.h).
 * The same input gives the same bytes. Names are unique. */
enum vd_err safetensors_write(const char *path,
                              const struct safetensors_output *tensors,
                              size_t n,
                              const struct safetensors_metadata *notes,
                              size_t n_notes) VD_MUST_USE;

#endif
