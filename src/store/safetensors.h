/*
 * safetensors: 8 bytes little-endian length of a JSON header, the header, then
 * the tensors' bytes. Read from strangers, so every length is checked before
 * it is used: no tensor leaves the file or overlaps another, shapes and sizes
 * agree, and there is no room between tensors to hide anything but alignment.
 *
 * Every tensor is listed; those that are not floats of 16 or 32 bits
 * (num_batches_tracked is an I64) can only be looked at. Local.
 */
#ifndef VOCDIST_STORE_SAFETENSORS_H
#define VOCDIST_STORE_SAFETENSORS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct json;

/* The format allows 100 MB, of which a hostile header makes 80 times as much
 * in memory (measured); 2 MB are some 15,000 tensors. */
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
    struct safetensors_tensor *tensors; /* owned; in the order of their bytes */
    size_t n;
    struct json *header; /* owned; where notes are */
};

/* VD_NOINPUT when it cannot be opened, VD_DATA when anything does not hold. */
enum vd_err safetensors_open(struct safetensors *f,
                             const char *path) VD_MUST_USE;
/* Accepts {0}. */
void safetensors_close(struct safetensors *f);

/* NULL when there is none of this name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *f,
                                                  const char *name);
/* The text of `key` in __metadata__, borrowed; NULL when there is none. */
enum vd_err safetensors_metadata(const struct safetensors *f, const char *key,
                                 const char **out) VD_MUST_USE;
/* Exact (F16 and BF16 are subsets); `out` has room for tensors[index].n. */
enum vd_err safetensors_read_f32(const struct safetensors *f, size_t index,
                                 float *out) VD_MUST_USE;

/* ---- writing ---- */

struct safetensors_output {
    const char *name;
    int rank;
    const int64_t *dims;
    const float *data;
};
struct safetensors_metadata {
    const char *key, *value;
};

/* All F32, in the given order; the same input gives the same bytes. Names are
 * unique. The file appears whole (store/atomic.h). */
enum vd_err safetensors_write(const char *path,
                              const struct safetensors_output *tensors,
                              size_t n,
                              const struct safetensors_metadata *notes,
                              size_t n_notes) VD_MUST_USE;

#endif
