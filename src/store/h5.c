/*
 * HDF5 files, types and errors. Data sets: h5_write.c, h5_read.c.
 *
 * Every library call that can fail goes through h5_fail(), which takes the
 * innermost cause from HDF5's error stack. Types are created on demand from
 * enum h5_type (h5_stored_type(): little-endian in the file) and recognized
 * again by h5_classify(), which accepts both byte orders.
 *
 * Writing a file: h5_create(), h5_write() and h5_rows_*(), then h5_close(),
 * which flushes first. A failed write is terminal: it sets
 * `failed`, the caller may only close the file, and h5_close() truncates it
 * instead of closing it, because HDF5 can crash on a file after a failed write.
 */
#include "store/h5.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/h5_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* H5Pset_file_locking() came with 1.10.7, 1.12.1 and 1.14.0. */
#define HAS_LOCK_SETTING                              \
    (H5_VERSION_GE(1, 14, 0) ||                       \
     (H5_VERS_MINOR == 12 && H5_VERS_RELEASE >= 1) || \
     (H5_VERS_MINOR == 10 && H5_VERS_RELEASE >= 7))

/* HDF5 needs a few MB to open a file, and crashes if an allocation fails. */
#define MIN_MEMORY ((size_t)16 << 20)

struct h5_cause {
    char text[256];
    bool is_memory; /* out of memory */
};

/* Takes the innermost entry of the error stack. For a failed system call HDF5
 * describes time, descriptor and addresses in two lines; only the reason given
 * by the system is kept. */
static herr_t read_cause(unsigned depth, const H5E_error2_t *error, void *ctx)
{
    const char mark[] = "error message = '";
    struct h5_cause *out = ctx;
    if (depth != 0 || !error->desc)
        return 0;
    const char *reason = strstr(error->desc, mark), *text = error->desc;
    if (reason)
        text = reason + sizeof mark - 1;
    out->is_memory =
        error->maj_num == H5E_RESOURCE && error->min_num == H5E_NOSPACE;
    snprintf(out->text, sizeof out->text, " (HDF5: %.*s)",
             (int)strcspn(text, reason ? "'\n" : "\n"), text);
    return 0;
}

enum vd_err h5_fail(const struct h5_file *f, const char *name, const char *what)
{
    struct h5_cause cause = {.text = ""};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, read_cause, &cause);
    /* Some HDF5 functions do not report an allocation failure as such. */
    if (cause.is_memory || memory_is_low())
        return memory_raise_oom(f->label, 0);
    return VD_FAIL(f->writing ? VD_IO : VD_DATA, "%s: %s%s%s%s\n%s", f->label,
                   name ? name : "", name ? ": " : "", what, cause.text,
                   f->writing ? FILE_WRITE_REMEDY : H5_READ_REMEDY);
}

enum vd_err h5_fail_write(struct h5_file *f, const char *name, const char *what)
{
    f->failed = h5_fail(f, name, what);
    return f->failed;
}

bool h5_close_id(hid_t id)
{
    return id < 0 || H5Idec_ref(id) >= 0;
}

void h5_silence_errors(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

hid_t h5_text_type(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0 || H5Tset_size(type, bytes) < 0 ||
        H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
        H5Tset_cset(type, H5T_CSET_UTF8) < 0) {
        h5_close_id(type);
        return H5I_INVALID_HID;
    }
    return type;
}

hid_t h5_stored_type(const struct h5_shape *shape, bool big_endian)
{
    switch (shape->type) {
    case H5_TYPE_UINT8:
        return H5Tcopy(H5T_STD_U8LE);
    case H5_TYPE_INT32:
        return H5Tcopy(big_endian ? H5T_STD_I32BE : H5T_STD_I32LE);
    case H5_TYPE_INT64:
        return H5Tcopy(big_endian ? H5T_STD_I64BE : H5T_STD_I64LE);
    case H5_TYPE_UINT64:
        return H5Tcopy(big_endian ? H5T_STD_U64BE : H5T_STD_U64LE);
    case H5_TYPE_FLOAT32:
        return H5Tcopy(big_endian ? H5T_IEEE_F32BE : H5T_IEEE_F32LE);
    case H5_TYPE_TEXT:
        return h5_text_type(shape->text_bytes);
    }
    return H5I_INVALID_HID;
}

hid_t h5_memory_type(const struct h5_shape *shape)
{
    return h5_stored_type(shape, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

bool h5_classify(hid_t type, struct h5_shape *out)
{
    if (H5Tget_class(type) == H5T_STRING) {
        size_t bytes = H5Tget_size(type);
        if (H5Tis_variable_str(type) != 0 || bytes == 0 ||
            H5Tget_strpad(type) == H5T_STR_SPACEPAD)
            return false;
        out->type = H5_TYPE_TEXT;
        out->text_bytes = bytes;
        return true;
    }
    for (int k = H5_TYPE_UINT8; k < H5_TYPE_TEXT; k++) {
        out->type = (enum h5_type)k;
        out->text_bytes = 0;
        hid_t little = h5_stored_type(out, false);
        hid_t big = h5_stored_type(out, true);
        bool is_equal = H5Tequal(type, little) > 0 || H5Tequal(type, big) > 0;
        if (h5_close_id(little) && h5_close_id(big) && is_equal)
            return true;
    }
    return false;
}

static size_t element_bytes(const struct h5_shape *shape)
{
    switch (shape->type) {
    case H5_TYPE_UINT8:
        return 1;
    case H5_TYPE_INT32:
    case H5_TYPE_FLOAT32:
        return 4;
    case H5_TYPE_INT64:
    case H5_TYPE_UINT64:
        return 8;
    case H5_TYPE_TEXT:
        return shape->text_bytes;
    }
    return 0;
}

enum vd_err h5_shape_bytes(const struct h5_file *f, const char *name,
                           const struct h5_shape *shape, size_t *out)
{
    size_t bytes = element_bytes(shape);
    for (int k = 0; k < shape->rank; k++)
        if (!alloc_mul_size(bytes, shape->dims[k], &bytes))
            return VD_FAIL(
                VD_DATA,
                "%s: %s: larger than the address space\n" H5_READ_REMEDY,
                f->label, name);
    *out = bytes;
    return VD_OK;
}

/* File access: POSIX I/O, no locks, the newest format that HDF5 1.10 reads.
 * H5F_CLOSE_SEMI: closing fails if an id of the file is still open (a leak).
 * Negative on failure. */
static hid_t file_access_plist(void)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    herr_t bad = H5Pset_fapl_sec2(list);
    bad |= H5Pset_fclose_degree(list, H5F_CLOSE_SEMI);
    bad |= H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110);
#if HAS_LOCK_SETTING
    bad |= H5Pset_file_locking(list, false, true);
#endif
    if (bad < 0) {
        h5_close_id(list);
        return H5I_INVALID_HID;
    }
    return list;
}

static struct h5_file *file_new(const char *label, bool writing)
{
    struct h5_file *f = xcalloc(1, sizeof *f);
    f->id = H5I_INVALID_HID;
    f->writing = writing;
    f->label = xstrdup(label);
    /* We close everything ourselves. The library's cleanup at exit would use a
     * file again whose close failed on a full disk, and crash. */
    H5dont_atexit();
    h5_silence_errors();
    return f;
}

static void file_free(struct h5_file *f)
{
    free(f->label);
    free(f);
}

enum vd_err h5_create(struct h5_file **out, const char *path, const char *label)
{
    VD_TRY(memory_check_available(label, MIN_MEMORY));
    struct h5_file *f = file_new(label, true);
    hid_t list = file_access_plist();
    hid_t root = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(root, false); /* bytes do not depend on time */
    f->id = H5Fcreate(path, H5F_ACC_TRUNC, root, list);
    enum vd_err err =
        f->id < 0 ? h5_fail(f, NULL, "cannot create the file") : VD_OK;
    h5_close_id(root);
    h5_close_id(list);
    if (err == VD_OK)
        *out = f;
    else
        file_free(f);
    return err;
}

enum vd_err h5_open(struct h5_file **out, const char *path)
{
    int64_t bytes = 0;
    int fd = -1;
    VD_TRY(memory_check_available(path, MIN_MEMORY));
    /* Open it first without HDF5, which reports a missing file as damaged. */
    VD_TRY(file_open_input(path, &fd, &bytes));
    close(fd);
    struct h5_file *f = file_new(path, false);
    f->bytes = (uint64_t)bytes;
    H5PLset_loading_state(0);
    hid_t list = file_access_plist();
    f->id = H5Fopen(path, H5F_ACC_RDONLY, list);
    enum vd_err err =
        f->id < 0 ? h5_fail(f, NULL, "not readable as HDF5") : VD_OK;
    h5_close_id(list);
    if (err == VD_OK)
        *out = f;
    else
        file_free(f);
    return err;
}

bool h5_has(const struct h5_file *f, const char *name)
{
    h5_silence_errors();
    return H5Lexists(f->id, name, H5P_DEFAULT) != 0;
}

/* A failed file stays open (h5_fail_write()). Truncating frees its disk space
 * but keeps the inode, by which HDF5 identifies open files. */
static void truncate_failed(const struct h5_file *f)
{
    int *fd = NULL;
    if (H5Fget_vfd_handle(f->id, H5P_DEFAULT, (void **)&fd) < 0 ||
        ftruncate(*fd, 0) < 0)
        log_debug("%s: cannot be truncated", f->label);
}

enum vd_err h5_close(struct h5_file *f)
{
    if (!f)
        return VD_OK;
    h5_silence_errors();
    enum vd_err err = f->failed;
    if (err == VD_OK && f->writing && H5Fflush(f->id, H5F_SCOPE_LOCAL) < 0)
        err = h5_fail_write(f, NULL, "cannot close the file");
    if (f->failed != VD_OK)
        truncate_failed(f);
    else if (H5Fclose(f->id) < 0)
        err = h5_fail(f, NULL, "cannot close the file");
    file_free(f);
    return err;
}
