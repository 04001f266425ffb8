/*
 * Reading data sets and attributes from files that are not trusted.
 *
 * open_dataset() runs the checks in an order in which each call is safe after
 * the ones before it: hard link; layout (compact, contiguous or chunked, no
 * external storage); filters; chunk size; type; rank; claimed bytes against
 * stored bytes. No memory is allocated in proportion to a claimed size before
 * these checks. check_shape() then compares with the expected shape.
 *
 * Row addresses (row_addresses()): the file offsets of rows 0, 1 and n - 1 are
 * looked up. If the last two are exactly n - 2 rows apart, rows 1 to n - 1 are
 * contiguous and the offsets between are computed; else each is looked up.
 */
#include "base/alloc.h"
#include "store/h5_internal.h"

#include <stdlib.h>
#include <string.h>

/* HDF5 allocates a whole chunk per read, whatever the size of the data set. */
#define MAX_CHUNK_BYTES ((uint64_t)256 << 20)
/* The largest compression ratio of deflate is 1032:1. */
#define MAX_EXPANSION 1032

struct h5_dataset {
    hid_t id, list, space, type;
    bool deflated;
    int n_filters;
    struct h5_shape shape;
};

static void h5_dataset_clear(struct h5_dataset *d)
{
    h5_close_id(d->type);
    h5_close_id(d->space);
    h5_close_id(d->list);
    h5_close_id(d->id);
}

static enum vd_err fail_object(const struct h5_file *f, const char *name,
                               const char *why)
{
    return VD_FAIL(VD_DATA, "%s: %s: %s\n" H5_READ_REMEDY, f->label, name, why);
}

static enum vd_err check_link(const struct h5_file *f, const char *name)
{
    H5L_info_t link;
    if (H5Lexists(f->id, name, H5P_DEFAULT) <= 0)
        return fail_object(f, name, "no such data set");
    if (H5Lget_info(f->id, name, &link, H5P_DEFAULT) < 0)
        return h5_fail(f, name, "unreadable");
    if (link.type != H5L_TYPE_HARD)
        return fail_object(f, name,
                           "a soft or external link, which is not followed");
    return VD_OK;
}

static enum vd_err check_filters(const struct h5_file *f, const char *name,
                                 struct h5_dataset *d)
{
    d->n_filters = H5Pget_nfilters(d->list);
    if (d->n_filters < 0)
        return h5_fail(f, name, "unreadable");
    for (int k = 0; k < d->n_filters; k++) {
        unsigned flags = 0;
        size_t n = 0;
        H5Z_filter_t filter = H5Pget_filter2(d->list, (unsigned)k, &flags, &n,
                                             NULL, 0, NULL, NULL);
        if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_FLETCHER32)
            return fail_object(f, name,
                               "a filter other than deflate and fletcher32");
        d->deflated |= filter == H5Z_FILTER_DEFLATE;
    }
    return VD_OK;
}

static enum vd_err check_chunk(const struct h5_file *f, const char *name,
                               const struct h5_dataset *d)
{
    hsize_t chunk[H5S_MAX_RANK];
    int rank = H5Pget_chunk(d->list, H5S_MAX_RANK, chunk);
    size_t bytes = H5Tget_size(d->type);
    if (rank < 0)
        return h5_fail(f, name, "unreadable");
    for (int k = 0; k < rank; k++)
        if (!alloc_mul_size(bytes, chunk[k], &bytes) || bytes > MAX_CHUNK_BYTES)
            return fail_object(f, name, "chunks of more than 256 MB");
    return VD_OK;
}

/* The bytes must be in this file, in a layout without side effects. The order
 * matters: other calls on a virtual data set open other files. */
static enum vd_err check_layout(const struct h5_file *f, const char *name,
                                struct h5_dataset *d)
{
    H5D_layout_t layout = H5Pget_layout(d->list);
    if (layout == H5D_VIRTUAL)
        return fail_object(f, name,
                           "a virtual data set: its bytes are in other files");
    if (layout < 0)
        return h5_fail(f, name, "unreadable");
    if (H5Pget_external_count(d->list) != 0)
        return fail_object(f, name,
                           "external storage: its bytes are in other files");
    VD_TRY(check_filters(f, name, d));
    d->type = H5Dget_type(d->id);
    if (d->type < 0)
        return h5_fail(f, name, "unreadable");
    return layout == H5D_CHUNKED ? check_chunk(f, name, d) : VD_OK;
}

static enum vd_err check_size(const struct h5_file *f, const char *name,
                              const struct h5_dataset *d)
{
    size_t claimed = 0;
    VD_TRY(h5_shape_bytes(f, name, &d->shape, &claimed));
    hsize_t stored = H5Dget_storage_size(d->id);
    size_t most = stored;
    if (d->deflated && !alloc_mul_size(stored, MAX_EXPANSION, &most))
        most = SIZE_MAX;
    if (stored > f->bytes || claimed > most)
        return VD_FAIL(VD_DATA,
                       "%s: %s: claims %zu bytes, but stores %llu in a file of "
                       "%llu\n" H5_READ_REMEDY,
                       f->label, name, claimed, (unsigned long long)stored,
                       (unsigned long long)f->bytes);
    return VD_OK;
}

static enum vd_err read_dataset_shape(const struct h5_file *f, const char *name,
                                      struct h5_dataset *d)
{
    hsize_t dims[H5S_MAX_RANK];
    if (!h5_classify(d->type, &d->shape))
        return fail_object(f, name, "has an unexpected type");
    d->space = H5Dget_space(d->id);
    int rank = H5Sget_simple_extent_dims(d->space, dims, NULL);
    if (d->space < 0 || rank < 0)
        return h5_fail(f, name, "unreadable");
    if (rank < 1 || rank > H5_MAX_RANK)
        return fail_object(f, name, "has an unexpected rank");
    d->shape.rank = rank;
    for (int k = 0; k < rank; k++)
        d->shape.dims[k] = dims[k];
    return VD_OK;
}

/* Opens a data set after all checks. The caller clears `d`, also after an
 * error. */
static enum vd_err open_dataset(const struct h5_file *f, const char *name,
                                struct h5_dataset *d)
{
    *d = (struct h5_dataset){H5I_INVALID_HID,
                             H5I_INVALID_HID,
                             H5I_INVALID_HID,
                             H5I_INVALID_HID,
                             false,
                             0,
                             {0}};
    VD_ASSERT(!strchr(name, '/'));
    h5_silence_errors();
    VD_TRY(check_link(f, name));
    d->id = H5Dopen2(f->id, name, H5P_DEFAULT);
    d->list = d->id < 0 ? H5I_INVALID_HID : H5Dget_create_plist(d->id);
    if (d->list < 0)
        return h5_fail(f, name, "not a readable data set");
    VD_TRY(check_layout(f, name, d));
    VD_TRY(read_dataset_shape(f, name, d));
    return check_size(f, name, d);
}

static enum vd_err check_shape(const struct h5_file *f, const char *name,
                               const struct h5_shape *stored,
                               const struct h5_shape *expected)
{
    bool is_equal = stored->type == expected->type &&
                    stored->rank == expected->rank &&
                    (expected->type != H5_TYPE_TEXT ||
                     stored->text_bytes == expected->text_bytes);
    for (int k = 0; is_equal && k < expected->rank; k++)
        is_equal = stored->dims[k] == expected->dims[k];
    if (!is_equal)
        return fail_object(f, name, "not of the expected type and shape");
    return VD_OK;
}

enum vd_err h5_shape(struct h5_file *f, const char *name, struct h5_shape *out)
{
    struct h5_dataset d;
    enum vd_err err = open_dataset(f, name, &d);
    if (err == VD_OK)
        *out = d.shape;
    h5_dataset_clear(&d);
    return err;
}

enum vd_err h5_read(struct h5_file *f, const char *name,
                    const struct h5_shape *expected, void *out)
{
    struct h5_dataset d;
    hid_t memory = H5I_INVALID_HID;
    enum vd_err err = open_dataset(f, name, &d);
    if (err == VD_OK)
        err = check_shape(f, name, &d.shape, expected);
    if (err != VD_OK)
        goto out;
    /* Texts are read as stored: HDF5 does not convert character sets. */
    memory = expected->type == H5_TYPE_TEXT ? H5Tcopy(d.type)
                                            : h5_memory_type(expected);
    H5_TRY_GOTO(out, err,
                H5Dread(d.id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, out), f,
                name, "cannot be read");
out:
    h5_close_id(memory);
    h5_dataset_clear(&d);
    return err;
}

static enum vd_err row_address(const struct h5_file *f, const char *name,
                               const struct h5_dataset *d, uint64_t row,
                               size_t bytes, uint64_t *out)
{
    hsize_t at[H5_MAX_RANK] = {row}, size = 0;
    unsigned skipped = 0;
    haddr_t address = HADDR_UNDEF;
    if (H5Dget_chunk_info_by_coord(d->id, at, &skipped, &address, &size) < 0)
        return h5_fail(f, name, "unreadable index");
    if (address == HADDR_UNDEF || size != bytes || bytes > f->bytes ||
        address > f->bytes - bytes)
        return VD_FAIL(VD_DATA,
                       "%s: %s: row %llu is outside the file\n" H5_READ_REMEDY,
                       f->label, name, (unsigned long long)row);
    *out = address;
    return VD_OK;
}

static enum vd_err check_rows(const struct h5_file *f, const char *name,
                              const struct h5_dataset *d)
{
    hsize_t chunk[H5S_MAX_RANK];
    if (H5Pget_layout(d->list) != H5D_CHUNKED || d->n_filters != 0 ||
        H5Pget_chunk(d->list, H5S_MAX_RANK, chunk) != d->shape.rank)
        return fail_object(f, name,
                           "not stored as one unfiltered chunk per row");
    for (int k = 0; k < d->shape.rank; k++)
        if (chunk[k] != (k == 0 ? 1 : d->shape.dims[k]))
            return fail_object(f, name, "not stored as one chunk per row");
    return VD_OK;
}

static enum vd_err row_addresses(const struct h5_file *f, const char *name,
                                 const struct h5_dataset *d, size_t bytes,
                                 uint64_t *out)
{
    uint64_t n = d->shape.dims[0];
    for (uint64_t k = 0; k < 2 && k < n; k++)
        VD_TRY(row_address(f, name, d, k, bytes, &out[k]));
    if (n <= 2)
        return VD_OK;
    VD_TRY(row_address(f, name, d, n - 1, bytes, &out[n - 1]));
    /* Layout that h5_rows_create() gives: row 0, chunk index, rows 1 to n - 1.
     */
    bool packed =
        out[n - 1] > out[1] && out[n - 1] - out[1] == (n - 2) * (uint64_t)bytes;
    for (uint64_t k = 2; k < n - 1; k++) {
        if (packed)
            out[k] = out[1] + (k - 1) * bytes;
        else
            VD_TRY(row_address(f, name, d, k, bytes, &out[k]));
    }
    return VD_OK;
}

enum vd_err h5_rows_addresses(struct h5_file *f, const char *name,
                              const struct h5_shape *expected, uint64_t *out)
{
    struct h5_dataset d;
    hid_t creation = H5I_INVALID_HID;
    hsize_t user_block = 0;
    size_t bytes = 0;
    struct h5_shape row = *expected;
    row.dims[0] = 1;
    enum vd_err err = open_dataset(f, name, &d);
    VD_TRY_GOTO(out, err, err);
    VD_TRY_GOTO(out, err, check_shape(f, name, &d.shape, expected));
    VD_TRY_GOTO(out, err, check_rows(f, name, &d));
    VD_TRY_GOTO(out, err, h5_shape_bytes(f, name, &row, &bytes));
    creation = H5Fget_create_plist(f->id);
    H5_TRY_GOTO(out, err, H5Pget_userblock(creation, &user_block), f, name,
                "unreadable");
    if (user_block != 0) /* addresses are relative to its end */
        err = fail_object(f, name, "in a file with a user block");
    else
        err = row_addresses(f, name, &d, bytes, out);
out:
    h5_close_id(creation);
    h5_dataset_clear(&d);
    return err;
}

/* ---- attributes ---- */

struct h5_attribute {
    hid_t id, type, space;
    struct h5_shape shape;
    uint64_t n;
};

static void h5_attribute_clear(struct h5_attribute *a)
{
    h5_close_id(a->space);
    h5_close_id(a->type);
    h5_close_id(a->id);
}

static enum vd_err open_attribute(const struct h5_file *f, const char *name,
                                  struct h5_attribute *a)
{
    *a = (struct h5_attribute){
        H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID, {0}, 0};
    h5_silence_errors();
    if (H5Aexists(f->id, name) <= 0)
        return fail_object(f, name, "no such attribute");
    a->id = H5Aopen(f->id, name, H5P_DEFAULT);
    if (a->id < 0)
        return h5_fail(f, name, "unreadable attribute");
    a->type = H5Aget_type(a->id);
    a->space = H5Aget_space(a->id);
    hssize_t n = H5Sget_simple_extent_npoints(a->space);
    if (a->type < 0 || n < 0)
        return h5_fail(f, name, "unreadable attribute");
    if (!h5_classify(a->type, &a->shape))
        return fail_object(f, name, "an attribute of an unexpected type");
    a->n = (uint64_t)n;
    return VD_OK;
}

enum vd_err h5_get_int(struct h5_file *f, const char *name, int64_t *out)
{
    struct h5_attribute a;
    int64_t value = 0;
    enum vd_err err = open_attribute(f, name, &a);
    VD_TRY_GOTO(out, err, err);
    if (a.n != 1 ||
        (a.shape.type != H5_TYPE_INT64 && a.shape.type != H5_TYPE_INT32))
        err = fail_object(f, name, "expected one integer");
    else if (H5Aread(a.id, H5T_NATIVE_INT64, &value) < 0)
        err = h5_fail(f, name, "unreadable attribute");
    else
        *out = value;
out:
    h5_attribute_clear(&a);
    return err;
}

enum vd_err h5_get_texts(struct h5_file *f, const char *name, size_t n,
                         size_t max_bytes, char ***out)
{
    struct h5_attribute a;
    char *block = NULL;
    size_t bytes = 0;
    enum vd_err err = open_attribute(f, name, &a);
    VD_TRY_GOTO(out, err, err);
    if (a.shape.type != H5_TYPE_TEXT || a.n != n ||
        a.shape.text_bytes > max_bytes + 1 ||
        !alloc_mul_size(n, a.shape.text_bytes, &bytes)) {
        err = VD_FAIL(VD_DATA,
                      "%s: %s: expected %zu strings of at most %zu "
                      "bytes\n" H5_READ_REMEDY,
                      f->label, name, n, max_bytes);
        goto out;
    }
    block = xcalloc(bytes, 1);
    if (H5Aread(a.id, a.type, block) < 0) {
        err = h5_fail(f, name, "unreadable attribute");
        goto out;
    }
    char **texts = xcalloc(n, sizeof *texts);
    for (size_t k = 0; k < n; k++)
        texts[k] = xasprintf("%.*s", (int)a.shape.text_bytes,
                             block + k * a.shape.text_bytes);
    *out = texts;
out:
    free(block);
    h5_attribute_clear(&a);
    return err;
}

void h5_free_texts(char **texts, size_t n)
{
    for (size_t k = 0; texts && k < n; k++)
        free(texts[k]);
    free(texts);
}

enum vd_err h5_get_text(struct h5_file *f, const char *name, size_t max_bytes,
                        char **out)
{
    char **texts = NULL;
    VD_TRY(h5_get_texts(f, name, 1, max_bytes, &texts));
    *out = texts[0];
    free(texts);
    return VD_OK;
}
