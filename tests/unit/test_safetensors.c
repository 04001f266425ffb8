/* store/safetensors: round trip, exact conversion of 16-bit floats, and checks
 * of hostile headers. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "store/atomic.h"
#include "store/safetensors.h"

static char *folder;

static char *in_folder(const char *name)
{
    return xasprintf("%s/%s", folder, name);
}

static void written_tensors_are_read_back(void **state)
{
    (void)state;
    char *path = in_folder("w"), *again = in_folder("again");
    const float a[] = {1, -2.5f, 3e-40f, INFINITY, 5, 6}, b[] = {7};
    const struct safetensors_output tensors[] = {
        {"z.weight", 2, (int64_t[]){2, 3}, a},
        {"a", 0, NULL, b},
        {"empty", 2, (int64_t[]){0, 5}, NULL},
    };
    const struct safetensors_metadata notes[] = {{"format", "pt"},
                                                 {"k", "\"q\""}};
    assert_int_equal(safetensors_write(path, tensors, 3, notes, 2), VD_OK);
    assert_int_equal(safetensors_write(again, tensors, 3, notes, 2), VD_OK);

    char *bytes = NULL, *bytes_again = NULL;
    size_t n = 0, n_again = 0;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &n), VD_OK);
    assert_int_equal(file_read(again, 1 << 20, &bytes_again, &n_again), VD_OK);
    assert_int_equal(n, n_again);
    assert_memory_equal(bytes, bytes_again, n);
    assert_int_equal((n - 7 * sizeof(float)) % 64, 0);
    free(bytes);
    free(bytes_again);

    struct safetensors f;
    float out[6];
    assert_int_equal(safetensors_open(&f, path), VD_OK);
    assert_int_equal(f.n, 3);
    assert_string_equal(f.tensors[0].name, "z.weight");
    assert_int_equal(f.tensors[0].rank, 2);
    assert_int_equal(f.tensors[0].dims[1], 3);
    assert_int_equal(safetensors_read_f32(&f, 0, out), VD_OK);
    assert_memory_equal(out, a, sizeof a);
    const struct safetensors_tensor *t = safetensors_find(&f, "a");
    assert_int_equal(t->rank, 0);
    assert_int_equal(t->n, 1);
    assert_int_equal(safetensors_read_f32(&f, (size_t)(t - f.tensors), out),
                     VD_OK);
    assert_true(out[0] == 7);
    assert_null(safetensors_find(&f, "b"));
    safetensors_close(&f);
    safetensors_close(&f);
    free(path);
    free(again);
}

/* Writes length, header and n bytes of data. */
static char *write_raw(const char *header, const void *data, size_t n)
{
    char *path = in_folder("raw");
    uint64_t length = strlen(header);
    FILE *f = fopen(path, "w");
    fwrite(&length, 8, 1, f);
    fputs(header, f);
    if (n)
        fwrite(data, 1, n, f);
    fclose(f);
    return path;
}

/* The value of a binary16 number by its definition, independent of the reader's
 * bit operations. */
static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

static void every_16_bit_float_is_exact(void **state)
{
    (void)state;
    uint16_t *all = xcalloc(65536, sizeof *all);
    float *out = xcalloc(65536, sizeof *out);
    for (uint32_t k = 0; k < 65536; k++)
        all[k] = (uint16_t)k;
    struct safetensors f;
    char *path = write_raw("{\"x\":{\"dtype\":\"F16\",\"shape\":[65536],"
                           "\"data_offsets\":[0,131072]}}",
                           all, 131072);
    assert_int_equal(safetensors_open(&f, path), VD_OK);
    assert_int_equal(safetensors_read_f32(&f, 0, out), VD_OK);
    safetensors_close(&f);
    free(path);
    for (uint32_t k = 0; k < 65536; k++) {
        double expected = half_value((uint16_t)k);
        if (isnan(expected))
            assert_true(isnan(out[k]));
        else
            assert_true((double)out[k] == expected &&
                        !signbit(out[k]) == !(k & 0x8000));
    }

    path = write_raw("{\"x\":{\"dtype\":\"BF16\",\"shape\":[65536],"
                     "\"data_offsets\":[0,131072]}}",
                     all, 131072);
    assert_int_equal(safetensors_open(&f, path), VD_OK);
    assert_int_equal(safetensors_read_f32(&f, 0, out), VD_OK);
    safetensors_close(&f);
    free(path);
    for (uint32_t k = 0; k < 65536; k++) {
        uint32_t bits;
        memcpy(&bits, &out[k], 4);
        assert_int_equal(bits, k << 16);
    }
    free(all);
    free(out);
}

#define ONE(dtype, shape, offsets)                     \
    "{\"x\":{\"dtype\":\"" dtype "\",\"shape\":" shape \
    ",\"data_offsets\":" offsets "}}"
#define TWO(a, b)                                                      \
    "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" a "}," \
    "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" b "}}"

static void hostile_headers_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *header, *message;
    } bad[] = {
        {"", "not JSON"},
        {"[1]", "expected an object"},
        {"{\"x\":3}", "tensor x: expected an object"},
        {"{\"x\":{},\"x\":{}}", "duplicate"},
        {"{\"\":{}}", "name is empty"},
        {ONE("F31", "[4]", "[0,16]"), "unknown dtype \"F31\""},
        {ONE("F32", "4", "[0,16]"), "\"shape\""},
        {ONE("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), "\"shape\""},
        {ONE("F32", "[-4]", "[0,16]"), "[0]"},
        {ONE("F32", "[4.0]", "[0,16]"), "[0]"},
        {ONE("F32", "[4]", "[0,16,16]"), "data_offsets"},
        {ONE("F32", "[4]", "[0]"), "expected two numbers"},
        {ONE("F32", "[4]", "[16,0]"), "expected an integer"},
        {ONE("F32", "[8]", "[0,32]"), "expected an integer from 0 to 16"},
        {ONE("F32", "[4]", "[0,12]"), "do not take 12 bytes"},
        {ONE("F32", "[4]", "[-16,0]"), "expected an integer"},
        {ONE("F32", "[4]", "[0,99999999999999999999]"), "not JSON"},
        {ONE("F32", "[1099511627776,1099511627776]", "[0,16]"), "overflows"},
        {ONE("F64", "[1099511627776,4194304]", "[0,0]"), "do not take"},
        {TWO("[0,8]", "[4,12]"), "overlaps"},
        {TWO("[0,8]", "[0,8]"), "overlaps"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct safetensors f;
        struct check_log log;
        char *path = write_raw(bad[k].header, "0123456789abcdef", 16);
        check_log_start(&log);
        assert_int_equal(safetensors_open(&f, path), VD_DATA);
        check_log_end();
        assert_logged(&log, path);
        assert_logged(&log, bad[k].message);
        free(path);
    }
}

static void gaps_and_trailing_bytes_are_rejected(void **state)
{
    (void)state;
    struct safetensors f;
    struct check_log log;
    char data[256] = {0};
    char *path = write_raw(TWO("[0,8]", "[72,80]"), data, 80);
    check_log_start(&log);
    assert_int_equal(safetensors_open(&f, path), VD_DATA);
    assert_logged(&log, "a gap before tensor y");
    free(path);
    path = write_raw(TWO("[0,8]", "[8,16]"), data, 16 + 64);
    assert_int_equal(safetensors_open(&f, path), VD_DATA);
    assert_logged(&log, "64 bytes after the last tensor");
    check_log_end();
    free(path);
    path = write_raw(TWO("[0,8]", "[64,72]"), data, 72);
    assert_int_equal(safetensors_open(&f, path), VD_OK);
    safetensors_close(&f);
    free(path);
}

static void files_of_other_kinds_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"", 0},
        {"short", 5},
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10},
        {"\x10\0\0\0\0\0\0\0{}", 10},
        {"PK\3\4 a zip file of another kind", 30},
    };
    struct safetensors f;
    struct check_log log;
    char *path = in_folder("other");
    check_log_start(&log);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        assert_int_equal(atomic_write(path, bad[k].bytes, bad[k].n), VD_OK);
        assert_int_equal(safetensors_open(&f, path), VD_DATA);
    }
    assert_int_equal(safetensors_open(&f, folder), VD_DATA);
    assert_int_equal(safetensors_open(&f, "/no/such"), VD_NOINPUT);
    check_log_end();
    assert_logged(&log, "/no/such: No such file");
    free(path);
}

static void other_types_are_listed_but_not_read(void **state)
{
    (void)state;
    struct safetensors f;
    struct check_log log;
    float out[1];
    char *path = write_raw(ONE("I64", "[]", "[0,8]"), "01234567", 8);
    assert_int_equal(safetensors_open(&f, path), VD_OK);
    assert_int_equal(f.n, 1);
    assert_int_equal(f.tensors[0].n, 1);
    check_log_start(&log);
    assert_int_equal(safetensors_read_f32(&f, 0, out), VD_DATA);
    check_log_end();
    assert_logged(&log, "tensor x is I64");
    safetensors_close(&f);
    free(path);
}

static void real_weights_are_read(void **state)
{
    (void)state;
    const char *data = getenv("VOCDIST_TEST_DATA");
    if (!data)
        skip();
    char *path = xasprintf("%s/weights/resnet34-warm.safetensors", data);
    struct safetensors f;
    size_t n_f16 = 0, n_other = 0;
    assert_int_equal(safetensors_open(&f, path), VD_OK);
    assert_int_equal(f.n, 218);
    for (size_t k = 0; k < f.n; k++) {
        n_f16 += f.tensors[k].type == SAFETENSORS_F16;
        n_other += f.tensors[k].type == SAFETENSORS_OTHER;
    }
    assert_int_equal(n_f16, 182);
    assert_int_equal(n_other, 36);
    const struct safetensors_tensor *t = safetensors_find(&f, "conv1.weight");
    assert_non_null(t);
    assert_int_equal(t->rank, 4);
    assert_int_equal(t->n, 64 * 3 * 7 * 7);
    float *out = xcalloc(t->n, sizeof *out);
    assert_int_equal(safetensors_read_f32(&f, (size_t)(t - f.tensors), out),
                     VD_OK);
    double largest = 0;
    for (size_t k = 0; k < t->n; k++) {
        assert_true(isfinite(out[k]));
        largest = fmax(largest, fabs((double)out[k]));
    }
    assert_true(largest > 0.1 && largest < 10);
    free(out);
    safetensors_close(&f);
    free(path);
}

static int make_folder(void **state)
{
    (void)state;
    folder = check_folder();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    check_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_tensors_are_read_back),
        cmocka_unit_test(every_16_bit_float_is_exact),
        cmocka_unit_test(hostile_headers_are_rejected),
        cmocka_unit_test(gaps_and_trailing_bytes_are_rejected),
        cmocka_unit_test(files_of_other_kinds_are_rejected),
        cmocka_unit_test(other_types_are_listed_but_not_read),
        cmocka_unit_test(real_weights_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
