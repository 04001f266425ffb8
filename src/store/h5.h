/*
 * HDF5, as little of it as shards and checkpoints need: data sets and
 * attributes of a file's root. The only place that knows the library.
 *
 * Writing: format of HDF5 1.10, whose metadata carries checksums; whole data
 * sets carry fletcher32. The library never syncs: write to the name that
 * atomic_reserve() gave, h5_close(), atomic_commit().
 *
 * Reading: a file can be made to read other files, load code or claim any
 * size, so a data set is touched only when it is a hard link in the root,
 * holds its own bytes, has no filter but deflate and fletcher32, has exactly
 * the expected type and shape, and stores as much as it claims. No locks are
 * taken (network file systems refuse them); no plugin is loaded.
 *
 * Names have no '/'. Messages name file, data set and HDF5's innermost cause.
 * Local. One thread at a time per file; several files at once only where the
 * library was built thread-safe (Debian's is, with one lock for everything).
 */
#ifndef VOCDIST_STORE_H5_H
#define VOCDIST_STORE_H5_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum h5_type {
    H5_TYPE_UINT8,
    H5_TYPE_INT32,
    H5_TYPE_INT64,
    H5_TYPE_UINT64,
    H5_TYPE_FLOAT32,
    H5_TYPE_TEXT, /* text_bytes each, padded with NUL, maybe without one */
};

#define H5_MAX_RANK 4
struct h5_shape {
    enum h5_type type;
    size_t text_bytes; /* H5_TYPE_TEXT only */
    int rank;          /* >= 1 */
    uint64_t dims[H5_MAX_RANK];
};

/* Bytes in memory; a shape beyond the address space is VD_DATA. */
enum vd_err h5_shape_bytes(const struct h5_shape *shape,
                           size_t *out) VD_MUST_USE;

struct h5_file;

/* `label` is the name in messages: the final one when `path` is temporary. */
enum vd_err h5_create(struct h5_file **out, const char *path,
                      const char *label) VD_MUST_USE;
/* VD_NOINPUT when it cannot be opened, VD_DATA when it is not HDF5. */
enum vd_err h5_open(struct h5_file **out, const char *path) VD_MUST_USE;
/* Something of this name is in it; true as well where that cannot be read. */
bool h5_has(const struct h5_file *f, const char *name);
/* Frees; NULL is fine. After writing, an error means the file is worthless;
 * after a failed write it is that one's, without a message. */
enum vd_err h5_close(struct h5_file *f) VD_MUST_USE;

/* ---- whole data sets ---- */

enum vd_err h5_write(struct h5_file *f, const char *name,
                     const struct h5_shape *shape,
                     const void *data) VD_MUST_USE;
/* What the file says, for a caller that checks it before making room. All of
 * the above is checked except the shape itself. */
enum vd_err h5_shape(struct h5_file *f, const char *name,
                     struct h5_shape *out) VD_MUST_USE;
/* VD_DATA unless the data set has exactly this shape. */
enum vd_err h5_read(struct h5_file *f, const char *name,
                    const struct h5_shape *expected, void *out) VD_MUST_USE;

/* ---- rows: one chunk each, no filter, readable past the library ---- */

struct h5_rows;

/* Rows of `row` (its type; dims without the first), at most max_rows. */
enum vd_err h5_rows_create(struct h5_rows **out, struct h5_file *f,
                           const char *name, const struct h5_shape *row,
                           uint64_t max_rows) VD_MUST_USE;
enum vd_err h5_rows_add(struct h5_rows *rows, const void *bytes) VD_MUST_USE;
/* Before h5_close(); frees; NULL is fine. */
enum vd_err h5_rows_close(struct h5_rows *rows) VD_MUST_USE;

/*
 * Where row i begins in the file, for pread(): all rows lie inside the file,
 * with no filter. `out` has room for expected->dims[0]. The order of rows that
 * lie packed is inferred from their ends (the library walks over all rows at
 * each question), so check what was read.
 */
enum vd_err h5_rows_addresses(struct h5_file *f, const char *name,
                              const struct h5_shape *expected,
                              uint64_t *out) VD_MUST_USE;

/* ---- attributes of the root ---- */

enum vd_err h5_set_int(struct h5_file *f, const char *name,
                       int64_t value) VD_MUST_USE;
enum vd_err h5_set_text(struct h5_file *f, const char *name,
                        const char *value) VD_MUST_USE;
/* n >= 1 */
enum vd_err h5_set_texts(struct h5_file *f, const char *name,
                         const char *const *values, size_t n) VD_MUST_USE;

enum vd_err h5_get_int(struct h5_file *f, const char *name,
                       int64_t *out) VD_MUST_USE;
/* Owned. Longer than max_bytes is VD_DATA. */
enum vd_err h5_get_text(struct h5_file *f, const char *name, size_t max_bytes,
                        char **out) VD_MUST_USE;
/* Exactly n texts; owned array of owned texts (h5_free_texts). */
enum vd_err h5_get_texts(struct h5_file *f, const char *name, size_t n,
                         size_t max_bytes, char ***out) VD_MUST_USE;
void h5_free_texts(char **texts, size_t n);

#endif
