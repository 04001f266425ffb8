/* store/h5: round trips of data sets, rows and attributes; errors name file,
 * data set and cause; no id leaks. Hostile files: test_shard. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "store/atomic.h"
#include "store/h5.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

static char *folder, *path;

static void every_type_round_trips(void **state)
{
    (void)state;
    static const uint8_t u8[] = {0, 255};
    static const int32_t i32[] = {INT32_MIN, INT32_MAX};
    static const int64_t i64[] = {INT64_MIN, INT64_MAX};
    static const uint64_t u64[] = {0, UINT64_MAX};
    static const float f32[] = {-0.0f, 1e-45f};
    static const char text[] = "abcd"; /* two texts of 2 bytes, without NUL */
    static const struct {
        struct h5_shape shape;
        const void *data;
        size_t bytes;
    } sets[] = {
        {{H5_TYPE_UINT8, 0, 1, {2}}, u8, sizeof u8},
        {{H5_TYPE_INT32, 0, 2, {2, 1}}, i32, sizeof i32},
        {{H5_TYPE_INT64, 0, 3, {1, 2, 1}}, i64, sizeof i64},
        {{H5_TYPE_UINT64, 0, 4, {1, 1, 1, 2}}, u64, sizeof u64},
        {{H5_TYPE_FLOAT32, 0, 1, {2}}, f32, sizeof f32},
        {{H5_TYPE_TEXT, 2, 1, {2}}, text, 4},
        {{H5_TYPE_FLOAT32, 0, 2, {0, 6}}, NULL, 0},
    };
    enum { COUNT = sizeof sets / sizeof *sets };
    struct h5_file *f = NULL;
    assert_int_equal(h5_create(&f, path, path), VD_OK);
    for (int k = 0; k < COUNT; k++) {
        char name[2] = {(char)('a' + k), 0};
        assert_int_equal(h5_write(f, name, &sets[k].shape, sets[k].data),
                         VD_OK);
    }
    assert_int_equal(h5_close(f), VD_OK);

    assert_int_equal(h5_open(&f, path), VD_OK);
    for (int k = 0; k < COUNT; k++) {
        char name[2] = {(char)('a' + k), 0};
        struct h5_shape shape = {0};
        char out[16] = {0};
        assert_int_equal(h5_shape(f, name, &shape), VD_OK);
        assert_memory_equal(&shape, &sets[k].shape, sizeof shape);
        assert_int_equal(h5_read(f, name, &shape, out), VD_OK);
        if (sets[k].bytes)
            assert_memory_equal(out, sets[k].data, sets[k].bytes);
    }
    assert_int_equal(h5_close(f), VD_OK);
}

static void large_data_sets_round_trip(void **state)
{
    (void)state;
    const size_t n = 3000001; /* several chunks, the last one partly filled */
    struct h5_shape shape = {H5_TYPE_INT32, 0, 1, {n}};
    int32_t *data = xcalloc(n, sizeof *data), *out = xcalloc(n, sizeof *out);
    struct h5_file *f = NULL;
    for (size_t k = 0; k < n; k++)
        data[k] = (int32_t)(k * 2654435761u);
    assert_int_equal(h5_create(&f, path, path), VD_OK);
    assert_int_equal(h5_write(f, "x", &shape, data), VD_OK);
    assert_int_equal(h5_close(f), VD_OK);
    assert_int_equal(h5_open(&f, path), VD_OK);
    assert_int_equal(h5_read(f, "x", &shape, out), VD_OK);
    assert_int_equal(h5_close(f), VD_OK);
    assert_memory_equal(out, data, n * sizeof *data);
    free(data);
    free(out);
}

static void attributes_round_trip(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    const char **names = xcalloc(MANY, sizeof *names);
    char **texts = NULL, *text = NULL;
    struct h5_file *f = NULL;
    int64_t number = 0;
    for (int k = 0; k < MANY; k++)
        names[k] = xasprintf("class %d", k);
    assert_int_equal(h5_create(&f, path, path), VD_OK);
    assert_int_equal(h5_set_int(f, "n", INT64_MIN), VD_OK);
    assert_int_equal(h5_set_text(f, "empty", ""), VD_OK);
    assert_int_equal(h5_set_text(f, "text", "d\xc3\xb6g"), VD_OK);
    assert_int_equal(h5_set_texts(f, "many", names, MANY), VD_OK);
    assert_int_equal(h5_close(f), VD_OK);

    assert_int_equal(h5_open(&f, path), VD_OK);
    assert_int_equal(h5_get_int(f, "n", &number), VD_OK);
    assert_true(number == INT64_MIN);
    assert_int_equal(h5_get_text(f, "empty", 10, &text), VD_OK);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(h5_get_text(f, "text", 4, &text), VD_OK);
    assert_string_equal(text, "d\xc3\xb6g");
    free(text);
    assert_int_equal(h5_get_texts(f, "many", MANY, 20, &texts), VD_OK);
    for (int k = 0; k < MANY; k++) {
        assert_string_equal(texts[k], names[k]);
        free((char *)(uintptr_t)names[k]);
    }
    h5_free_texts(texts, MANY);
    free(names);

    struct check_log log;
    check_log_start(&log);
    assert_int_equal(h5_get_text(f, "text", 3, &text), VD_DATA);
    assert_int_equal(h5_get_text(f, "n", 3, &text), VD_DATA);
    assert_int_equal(h5_get_int(f, "text", &number), VD_DATA);
    assert_int_equal(h5_get_int(f, "none", &number), VD_DATA);
    check_log_end();
    assert_logged(&log, "none: no such attribute");
    assert_int_equal(h5_close(f), VD_OK);
}

enum { ROWS = 300, ROW_BYTES = 6 };

static void write_rows(void)
{
    struct h5_shape row = {H5_TYPE_UINT8, 0, 2, {0, ROW_BYTES}};
    struct h5_file *f = NULL;
    struct h5_rows *rows = NULL;
    assert_int_equal(h5_create(&f, path, path), VD_OK);
    assert_int_equal(h5_rows_create(&rows, f, "r", &row, ROWS), VD_OK);
    for (int k = 0; k < ROWS; k++) {
        uint8_t bytes[ROW_BYTES] = {(uint8_t)k, (uint8_t)(k >> 8), 3, 4, 5, 6};
        assert_int_equal(h5_rows_add(rows, bytes), VD_OK);
    }
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(h5_rows_add(rows, &row), VD_DATA);
    check_log_end();
    assert_logged(&log, "r: more than 300 rows");
    assert_int_equal(h5_rows_close(rows), VD_OK);
    assert_int_equal(h5_close(f), VD_OK);
}

static void row_addresses_are_file_offsets(void **state)
{
    (void)state;
    struct h5_shape shape = {H5_TYPE_UINT8, 0, 2, {ROWS, ROW_BYTES}};
    struct h5_file *f = NULL;
    uint64_t at[ROWS];
    write_rows();
    assert_int_equal(h5_open(&f, path), VD_OK);
    assert_int_equal(h5_rows_addresses(f, "r", &shape, at), VD_OK);
    assert_int_equal(h5_close(f), VD_OK);
    int fd = open(path, O_RDONLY);
    for (int k = 0; k < ROWS; k++) {
        uint8_t bytes[ROW_BYTES];
        assert_int_equal(pread(fd, bytes, ROW_BYTES, (off_t)at[k]), ROW_BYTES);
        assert_int_equal(bytes[0] | bytes[1] << 8, k);
    }
    close(fd);
}

static void unexpected_shapes_are_rejected(void **state)
{
    (void)state;
    struct h5_shape shape = {H5_TYPE_UINT8, 0, 2, {ROWS, ROW_BYTES}};
    struct h5_file *f = NULL;
    struct check_log log;
    uint8_t out[ROWS * ROW_BYTES];
    uint64_t at[ROWS];
    write_rows();
    assert_int_equal(h5_open(&f, path), VD_OK);
    assert_int_equal(h5_read(f, "r", &shape, out), VD_OK);
    check_log_start(&log);
    shape.dims[0]--;
    assert_int_equal(h5_read(f, "r", &shape, out), VD_DATA);
    assert_int_equal(h5_rows_addresses(f, "r", &shape, at), VD_DATA);
    shape.dims[0]++;
    shape.rank = 1;
    assert_int_equal(h5_read(f, "r", &shape, out), VD_DATA);
    shape.rank = 2;
    shape.type = H5_TYPE_INT32;
    assert_int_equal(h5_read(f, "r", &shape, out), VD_DATA);
    assert_int_equal(h5_read(f, "s", &shape, out), VD_DATA);
    check_log_end();
    assert_logged(&log, "r: not of the expected type and shape");
    assert_logged(&log, "s: no such data set");
    /* Would fail if an id were still open. */
    assert_int_equal(h5_close(f), VD_OK);
}

static void other_files_are_rejected(void **state)
{
    (void)state;
    struct h5_file *f = NULL;
    struct check_log log;
    assert_int_equal(atomic_write(path, "no HDF5 here", 12), VD_OK);
    check_log_start(&log);
    assert_int_equal(h5_open(&f, path), VD_DATA);
    assert_logged(&log, "not readable as HDF5 (HDF5: ");
    assert_int_equal(h5_open(&f, "/no/such"), VD_NOINPUT);
    assert_int_equal(h5_open(&f, folder), VD_DATA);
    assert_int_equal(h5_create(&f, "/no/such", "final"), VD_IO);
    check_log_end();
    assert_logged(&log, "final: cannot create the file (HDF5: ");
    assert_null(f);
    assert_int_equal(h5_close(NULL), VD_OK);
}

/* HDF5's file locks fail on network file systems, so none is taken. */
static void no_lock_is_taken(void **state)
{
    (void)state;
    struct h5_file *f = NULL;
    write_rows();
    int fd = open(path, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(h5_open(&f, path), VD_OK);
    assert_int_equal(h5_close(f), VD_OK);
    close(fd);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    char *small = xasprintf("%s/small", folder);
    char *inside = xasprintf("%s/f", small), block[4096];
    struct h5_shape row = {H5_TYPE_UINT8, 0, 2, {0, sizeof block}};
    struct h5_file *f = NULL;
    struct h5_rows *rows = NULL;
    struct check_log log;
    memset(block, 1, sizeof block);
    assert_int_equal(file_make_folder(small), VD_OK);
    if (mount("none", small, "tmpfs", 0, "size=256k")) {
        free(inside);
        free(small);
        skip(); /* needs root */
    }
    check_log_start(&log);
    enum vd_err err = h5_create(&f, inside, "final");
    if (err == VD_OK)
        err = h5_rows_create(&rows, f, "r", &row, 1000);
    for (int k = 0; err == VD_OK && k < 1000; k++)
        err = h5_rows_add(rows, block);
    enum vd_err closed = h5_rows_close(rows);
    if (closed == VD_OK)
        closed = h5_close(f);
    else
        assert_int_equal(h5_close(f), VD_IO);
    check_log_end();
    unlink(inside);
    assert_int_equal(h5_create(&f, inside, "final"),
                     VD_OK); /* there is space again */
    assert_int_equal(h5_close(f), VD_OK);
    umount2(small, MNT_DETACH);
    assert_int_equal(err, VD_IO);
    assert_int_equal(closed, VD_IO);
    assert_logged(&log, "final: r: write failed (HDF5: ");
    free(inside);
    free(small);
    every_type_round_trips(NULL); /* the library is still usable */
}

static int make_folder(void **state)
{
    (void)state;
    folder = check_folder();
    path = xasprintf("%s/f.h5", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    free(path);
    check_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_round_trips),
        cmocka_unit_test(large_data_sets_round_trip),
        cmocka_unit_test(attributes_round_trip),
        cmocka_unit_test(row_addresses_are_file_offsets),
        cmocka_unit_test(unexpected_shapes_are_rejected),
        cmocka_unit_test(other_files_are_rejected),
        cmocka_unit_test(no_lock_is_taken),
        cmocka_unit_test(a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
