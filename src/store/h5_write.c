/*
 * Writing data sets, row data sets and attributes.
 *
 * h5_write() stores a whole array in chunks of about 1 MiB with fletcher32.
 * h5_rows_*() appends rows of equal size, one unfiltered chunk per row, with
 * H5Dwrite_chunk(), which bypasses the type conversion: row bytes must be
 * little-endian. After a failed write the file may only be closed
 * (h5_fail_write() sets `failed`). Object timestamps are off and types have a
 * fixed byte order, so equal content gives equal bytes.
 */
#include "base/alloc.h"
#include "store/h5_internal.h"

#include <stdlib.h>
#include <string.h>

/* Chunk size of whole data sets: small enough to read a chunk at once, large
 * enough for a small index. */
#define CHUNK_BYTES ((size_t)1 << 20)

struct h5_rows {
    struct h5_file *file; /* borrowed */
    hid_t id;
    char *name; /* owned */
    size_t row_bytes;
    int rank;
    hsize_t dims[H5_MAX_RANK];
    uint64_t max_rows;
};

static hid_t create_dataspace(const struct h5_shape *shape)
{
    hsize_t dims[H5_MAX_RANK];
    for (int k = 0; k < shape->rank; k++)
        dims[k] = shape->dims[k];
    return H5Screate_simple(shape->rank, dims, NULL);
}

/* Chunks of whole rows, with fletcher32. An empty data set is contiguous,
 * because a chunk cannot be larger than its data set. */
static hid_t dataset_create_plist(const struct h5_shape *shape, size_t bytes)
{
    hsize_t chunk[H5_MAX_RANK];
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(list, false); /* bytes do not depend on time */
    if (list < 0 || bytes == 0)
        return list;
    size_t row = bytes / shape->dims[0];
    size_t rows = row < CHUNK_BYTES ? CHUNK_BYTES / row : 1;
    for (int k = 0; k < shape->rank; k++)
        chunk[k] = shape->dims[k];
    chunk[0] = rows < shape->dims[0] ? rows : shape->dims[0];
    if (H5Pset_chunk(list, shape->rank, chunk) < 0 ||
        H5Pset_fletcher32(list) < 0) {
        h5_close_id(list);
        return H5I_INVALID_HID;
    }
    return list;
}

/* Flushes first, so that no write fails during the close: h5_fail_write(). */
static enum vd_err close_dataset(struct h5_file *f, const char *name, hid_t id)
{
    if (f->failed != VD_OK)
        return f->failed;
    if (H5Dflush(id) < 0 || !h5_close_id(id))
        return h5_fail_write(f, name, "cannot close the data set");
    return VD_OK;
}

enum vd_err h5_write(struct h5_file *f, const char *name,
                     const struct h5_shape *shape, const void *data)
{
    enum vd_err err;
    size_t bytes = 0;
    VD_ASSERT(shape->rank >= 1 && shape->rank <= H5_MAX_RANK);
    VD_ASSERT(!strchr(name, '/'));
    VD_TRY(h5_shape_bytes(f, name, shape, &bytes));
    h5_silence_errors();
    hid_t stored = h5_stored_type(shape, false), memory = h5_memory_type(shape);
    hid_t space = create_dataspace(shape),
          list = dataset_create_plist(shape, bytes);
    hid_t id =
        H5Dcreate2(f->id, name, stored, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (id < 0)
        err = h5_fail_write(f, name, "cannot create the data set");
    else if (bytes &&
             H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        err = h5_fail_write(f, name, "write failed");
    else
        err = close_dataset(f, name, id);
    h5_close_id(list);
    h5_close_id(space);
    h5_close_id(memory);
    h5_close_id(stored);
    return err;
}

/*
 * A fixed maximum size gives a "fixed array" index, one block that is allocated
 * with the first row. All other rows are then contiguous: h5_rows_addresses().
 */
static hid_t create_rows(struct h5_rows *rows, const struct h5_shape *row)
{
    hsize_t max[H5_MAX_RANK], chunk[H5_MAX_RANK];
    memcpy(max, rows->dims, sizeof max);
    memcpy(chunk, rows->dims, sizeof chunk);
    max[0] = rows->max_rows;
    chunk[0] = 1;
    hid_t type = h5_stored_type(row, false);
    hid_t space = H5Screate_simple(rows->rank, rows->dims, max);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(list, rows->rank, chunk);
    H5Pset_obj_track_times(list, false);
    hid_t id = H5Dcreate2(rows->file->id, rows->name, type, space, H5P_DEFAULT,
                          list, H5P_DEFAULT);
    h5_close_id(list);
    h5_close_id(space);
    h5_close_id(type);
    return id;
}

enum vd_err h5_rows_create(struct h5_rows **out, struct h5_file *f,
                           const char *name, const struct h5_shape *row,
                           uint64_t max_rows)
{
    VD_ASSERT(row->rank >= 1 && row->rank <= H5_MAX_RANK);
    VD_ASSERT(!strchr(name, '/'));
    struct h5_shape one = *row;
    one.dims[0] = 1;
    size_t row_bytes = 0;
    VD_TRY(h5_shape_bytes(f, name, &one, &row_bytes));
    h5_silence_errors();

    struct h5_rows *rows = xcalloc(1, sizeof *rows);
    rows->file = f;
    rows->name = xstrdup(name);
    rows->row_bytes = row_bytes;
    rows->rank = row->rank;
    rows->max_rows = max_rows;
    for (int k = 1; k < row->rank; k++)
        rows->dims[k] = row->dims[k];
    rows->id = create_rows(rows, row);
    if (rows->id < 0) {
        (void)h5_fail_write(f, name, "cannot create the data set");
        return h5_rows_close(rows);
    }
    *out = rows;
    return VD_OK;
}

enum vd_err h5_rows_add(struct h5_rows *rows, const void *bytes)
{
    hsize_t at[H5_MAX_RANK] = {rows->dims[0]};
    if (rows->dims[0] == rows->max_rows)
        return VD_FAIL(VD_DATA, "%s: %s: more than %llu rows",
                       rows->file->label, rows->name,
                       (unsigned long long)rows->max_rows);
    h5_silence_errors();
    rows->dims[0]++;
    if (H5Dset_extent(rows->id, rows->dims) < 0 ||
        H5Dwrite_chunk(rows->id, H5P_DEFAULT, 0, at, rows->row_bytes, bytes) <
            0)
        return h5_fail_write(rows->file, rows->name, "write failed");
    return VD_OK;
}

enum vd_err h5_rows_close(struct h5_rows *rows)
{
    if (!rows)
        return VD_OK;
    h5_silence_errors();
    enum vd_err err = close_dataset(rows->file, rows->name, rows->id);
    free(rows->name);
    free(rows);
    return err;
}

static enum vd_err set_attribute(struct h5_file *f, const char *name,
                                 hid_t stored, hid_t memory, hid_t space,
                                 const void *data)
{
    h5_silence_errors();
    hid_t id = H5Acreate2(f->id, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    if (id < 0)
        return h5_fail_write(f, name, "cannot create the attribute");
    if (H5Awrite(id, memory, data) < 0)
        return h5_fail_write(f, name, "cannot write the attribute");
    if (!h5_close_id(id))
        return h5_fail_write(f, name, "cannot close the attribute");
    return VD_OK;
}

enum vd_err h5_set_int(struct h5_file *f, const char *name, int64_t value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    enum vd_err err =
        set_attribute(f, name, H5T_STD_I64LE, H5T_NATIVE_INT64, space, &value);
    h5_close_id(space);
    return err;
}

enum vd_err h5_set_text(struct h5_file *f, const char *name, const char *value)
{
    /* One byte more, so that the stored text always ends in NUL. */
    hid_t type = h5_text_type(strlen(value) + 1);
    hid_t space = H5Screate(H5S_SCALAR);
    enum vd_err err = set_attribute(f, name, type, type, space, value);
    h5_close_id(space);
    h5_close_id(type);
    return err;
}

enum vd_err h5_set_texts(struct h5_file *f, const char *name,
                         const char *const *values, size_t n)
{
    size_t longest = 0;
    for (size_t k = 0; k < n; k++)
        longest = strlen(values[k]) > longest ? strlen(values[k]) : longest;
    char *block = xcalloc(n, longest + 1);
    for (size_t k = 0; k < n; k++)
        memcpy(block + k * (longest + 1), values[k], strlen(values[k]));

    hsize_t dims = n;
    hid_t type = h5_text_type(longest + 1);
    hid_t space = H5Screate_simple(1, &dims, NULL);
    enum vd_err err = set_attribute(f, name, type, type, space, block);
    h5_close_id(space);
    h5_close_id(type);
    free(block);
    return err;
}
