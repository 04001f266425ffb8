/*
 * The subset of HDF5 that shards and checkpoints need: data sets and
 * attributes in the root group of a file. Only h5*.c use the library.
 *
 * Writing: the format of HDF5 1.10, whose metadata have checksums; whole data
 * sets have fletcher32 checksums. The library never syncs: write to the name
 * from atomic_reserve(), then h5_close(), then atomic_commit().
 *
 * Reading: a hostile file can make the library read other files, load code or
 * allocate any size. A data set is therefore read only if it is a hard link in
 * the root group, stores its own bytes, has no filter except deflate and
 * fletcher32, has exactly the expected type and shape, and stores as many bytes
 * as it claims. No locks are taken (network file systems do not support them),
 * and no plugin is loaded.
 *
 * Names contain no '/'. Error messages name the file, the data set and HDF5's
 * innermost cause. Local. Use each file from one thread at a time; several
 * files at once only if the library is built thread-safe (Debian's is, with one
 * global lock).
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
    H5_TYPE_TEXT, /* text_bytes each, NUL-padded; a full one has no NUL */
};

#define H5_MAX_RANK 4
struct h5_shape {
    enum h5_type type;
    size_t text_bytes; /* H5_TYPE_TEXT only */
    int rank;          /* >= 1 */
    uint64_t dims[H5_MAX_RANK];
};

struct h5_file;

/* `label` is the name in messages: the final name if `path` is a temporary
 * one. */
enum vd_err h5_create(struct h5_file **out, const char *path,
                      const char *label) VD_MUST_USE;
/* VD_NOINPUT if the file cannot be opened, VD_DATA if it is not HDF5. */
enum vd_err h5_open(struct h5_file **out, const char *path) VD_MUST_USE;
/* True if the root group has a link of this name, or cannot be read. */
bool h5_has(const struct h5_file *f, const char *name);
/* Closes and frees; accepts NULL. An error after writing means that the file
 * is unusable. After a failed write the result is the code of that write, and
 * nothing is logged. */
enum vd_err h5_close(struct h5_file *f) VD_MUST_USE;

/* ---- whole data sets ---- */

/* Creates the data set `name` from all of `data`, in row-major order. */
enum vd_err h5_write(struct h5_file *f, const char *name,
                     const struct h5_shape *shape,
                     const void *data) VD_MUST_USE;
/* The shape stored in the file, for a caller that checks it before it allocates
 * memory. Runs all checks listed above except that of the shape. */
enum vd_err h5_shape(struct h5_file *f, const char *name,
                     struct h5_shape *out) VD_MUST_USE;
/* VD_DATA unless the data set has exactly this shape. */
enum vd_err h5_read(struct h5_file *f, const char *name,
                    const struct h5_shape *expected, void *out) VD_MUST_USE;

/* ---- rows: one chunk each, no filter, readable with pread() ---- */

struct h5_rows;

/* A data set of at most max_rows rows of the type of `row` and of its dims
 * except the first. */
enum vd_err h5_rows_create(struct h5_rows **out, struct h5_file *f,
                           const char *name, const struct h5_shape *row,
                           uint64_t max_rows) VD_MUST_USE;
/* Appends one row; VD_DATA beyond max_rows. */
enum vd_err h5_rows_add(struct h5_rows *rows, const void *bytes) VD_MUST_USE;
/* Call it before h5_close(). Frees; accepts NULL. */
enum vd_err h5_rows_close(struct h5_rows *rows) VD_MUST_USE;

/*
 * The file offset of each row, for pread(): out[i] for row i, with room for
 * expected->dims[0]. Checks that all rows are unfiltered and inside the file.
 * If the first and the last rows show that rows are stored contiguously, the
 * offsets between are computed, not looked up (each lookup takes the library
 * time proportional to the number of rows), so verify the data that you read.
 */
enum vd_err h5_rows_addresses(struct h5_file *f, const char *name,
                              const struct h5_shape *expected,
                              uint64_t *out) VD_MUST_USE;

/* ---- attributes of the root ---- */

enum vd_err h5_set_int(struct h5_file *f, const char *name,
                       int64_t value) VD_MUST_USE;
enum vd_err h5_set_text(struct h5_file *f, const char *name,
                        const char *value) VD_MUST_USE;
/* One attribute with n >= 1 texts. */
enum vd_err h5_set_texts(struct h5_file *f, const char *name,
                         const char *const *values, size_t n) VD_MUST_USE;

enum vd_err h5_get_int(struct h5_file *f, const char *name,
                       int64_t *out) VD_MUST_USE;
/* Owned. VD_DATA if it is longer than max_bytes. */
enum vd_err h5_get_text(struct h5_file *f, const char *name, size_t max_bytes,
                        char **out) VD_MUST_USE;
/* Exactly n texts; owned array of owned texts (h5_free_texts). */
enum vd_err h5_get_texts(struct h5_file *f, const char *name, size_t n,
                         size_t max_bytes, char ***out) VD_MUST_USE;
void h5_free_texts(char **texts, size_t n);

#endif
