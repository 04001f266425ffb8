/*
 * base: error codes and messages, strict number parsing, suggestions, UTF-8,
 * files, hashes, memory, and the published test vectors of the random numbers.
 */
#include "check.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void exit_codes_follow_sysexits(void **state)
{
    (void)state;
    assert_int_equal(err_exit_code(VD_OK), 0);
    assert_int_equal(err_exit_code(VD_USAGE), 64);
    assert_int_equal(err_exit_code(VD_DATA), 65);
    assert_int_equal(err_exit_code(VD_NOINPUT), 66);
    assert_int_equal(err_exit_code(VD_COMM), 69);
    assert_int_equal(err_exit_code(VD_BUG), 70);
    assert_int_equal(err_exit_code(VD_STOPPED), 75);
    assert_int_equal(err_exit_code(VD_NUMERIC), 76);
    assert_int_equal(err_exit_code(VD_CONFIG), 78);
}

static enum vd_err propagate(enum vd_err err)
{
    VD_TRY(err);
    return VD_OK;
}

static void errors_are_logged_once_and_propagated(void **state)
{
    (void)state;
    struct check_log log;
    check_log_start(&log);
    enum vd_err err = VD_FAIL(VD_DATA, "file %d is damaged\nwrite it again", 7);
    check_log_end();
    assert_int_equal(err, VD_DATA);
    assert_int_equal(propagate(err), VD_DATA);
    assert_string_equal(log.text, "file 7 is damaged\nwrite it again\n");
}

static void numbers_are_strict(void **state)
{
    (void)state;
    int64_t i = 5;
    double d = 5;
    assert_true(text_to_int64("-12", &i) && i == -12);
    assert_true(text_to_double("1e-3", &d) && d == 1e-3);
    const char *const bad[] = {"",    " 1",    "1 ",  "3x0", "0x10", "nan",
                               "inf", "1e999", "--1", "1,5", "+",    "."};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        assert_false(text_to_int64(bad[k], &i));
        assert_false(text_to_double(bad[k], &d));
    }
    assert_false(text_to_int64("9223372036854775808", &i));
    assert_false(text_to_int64("1.5", &i));
    assert_int_equal(i, -12);
}

static void typos_get_a_suggestion(void **state)
{
    (void)state;
    const char *const names[] = {"optim.lr", "train.epochs", "data.train"};
    assert_string_equal(text_nearest("train.epoch", names, 3), "train.epochs");
    assert_string_equal(text_nearest("optm.lr", names, 3), "optim.lr");
    assert_null(text_nearest("banana", names, 3));
    char endless[400] = {0};
    memset(endless, 'a', sizeof endless - 1);
    assert_null(text_nearest(endless, names, 3));
}

static void utf8_is_strict(void **state)
{
    (void)state;
    uint32_t code = 0;
    assert_int_equal(text_decode_utf8("a", &code), 1);
    assert_int_equal(text_decode_utf8("\xc3\xa9", &code), 2);
    assert_int_equal(code, 0xe9);
    assert_int_equal(text_decode_utf8("\xe2\x82\xac", &code), 3);
    assert_int_equal(code, 0x20ac);
    assert_int_equal(text_decode_utf8("\xf4\x8f\xbf\xbf", &code), 4);
    assert_int_equal(code, 0x10ffff);
    const char *const bad[] = {"",
                               "\x80",
                               "\xc3",
                               "\xc3(",
                               "\xc0\xaf",
                               "\xe0\x80\x80",
                               "\xed\xa0\x80",
                               "\xe2\x82",
                               "\xf4\x90\x80\x80",
                               "\xf8\x88\x80\x80\x80",
                               "\xff",
                               "\xf0\x8f\xbf\xbf"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_int_equal(text_decode_utf8(bad[k], &code), 0);
    assert_int_equal(code, 0x10ffff);
}

static void texts_grow(void **state)
{
    (void)state;
    struct text t = {0};
    for (int k = 0; k < 1000; k++)
        text_add(&t, "%d,", k % 10);
    assert_int_equal(t.length, 2000);
    assert_int_equal(strlen(t.bytes), 2000);
    free(t.bytes);
    char padded[] = "  a b \r\n";
    assert_string_equal(text_trim(padded), "a b");
}

static void files_are_read_whole_or_rejected(void **state)
{
    (void)state;
    char *folder = check_folder(), *bytes = NULL;
    size_t n = 0;
    struct check_log log;
    char *deep = xasprintf("%s/a/b", folder);
    char *path = xasprintf("%s/f", deep);
    assert_int_equal(file_make_folder(deep), VD_OK);
    FILE *f = fopen(path, "w");
    fputs("hello", f);
    fclose(f);

    assert_int_equal(file_read(path, 5, &bytes, &n), VD_OK);
    assert_int_equal(n, 5);
    assert_string_equal(bytes, "hello");
    free(bytes);
    check_log_start(&log);
    assert_int_equal(file_read(path, 4, &bytes, &n), VD_DATA);
    assert_int_equal(file_read(deep, 4, &bytes, &n), VD_DATA);
    assert_int_equal(file_read("/no/such", 4, &bytes, &n), VD_NOINPUT);
    check_log_end();
    assert_logged(&log, "/no/such: No such file");

    struct file_list list;
    assert_int_equal(file_list_read(&list, deep), VD_OK);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.names[0], "f");
    file_list_clear(&list);
    char *parent = file_dirname(path);
    assert_string_equal(parent, deep);
    free(parent);
    free(path);
    free(deep);
    check_folder_remove(folder);
}

static void hash_of_pieces_is_hash_of_whole(void **state)
{
    (void)state;
    struct hash h;
    hash_init(&h);
    hash_update(&h, "ab", 2);
    hash_update(&h, "c", 1);
    assert_true(hash_final(&h) == hash_bytes("abc", 3));
    assert_true(hash_bytes("abc", 3) == 0x78af5f94892f3950u);
}

/* The known-answer test of Random123 for philox4x32-10. The counter is
 * {position low, position high, element, stream}. */
static void philox_matches_published_vectors(void **state)
{
    (void)state;
    uint32_t w[4];
    rng_words(0, 0, 0, 0, w);
    assert_int_equal(w[0], 0x6627e8d5u);
    assert_int_equal(w[3], 0x9b00dbd8u);
    rng_words(0x299f31d0a4093822u, 0x03707344u, 0x85a308d3243f6a88u,
              0x13198a2eu, w);
    assert_int_equal(w[0], 0xd16cfe09u);
    assert_int_equal(w[1], 0x94fdccebu);
}

static void uniform_and_normal_have_their_moments(void **state)
{
    (void)state;
    const uint32_t n = 20000;
    double sum = 0, sum2 = 0, normal = 0, normal2 = 0;
    for (uint32_t k = 0; k < n; k++) {
        double u = rng_uniform(1, RNG_TEST, 2, k);
        double z = rng_normal(1, RNG_TEST, 3, k);
        assert_true(u >= 0 && u < 1);
        sum += u;
        sum2 += u * u;
        normal += z;
        normal2 += z * z;
    }
    assert_near(sum / n, 0.5, 0.01);
    assert_near(sum2 / n, 1.0 / 3, 0.01);
    assert_near(normal / n, 0, 0.03);
    assert_near(normal2 / n, 1, 0.05);
}

static void peak_memory_is_per_process_and_never_falls(void **state)
{
    (void)state;
    const size_t n = (size_t)64 << 20;
    int64_t before = memory_peak();
    void *p = NULL;
    assert_true(before > 0);
    assert_int_equal(alloc_aligned(&p, n, 1, "a test"), VD_OK);
    memset(p, 1, n);
    alloc_aligned_free(p);
    int64_t after = memory_peak();
    assert_true(after - before > (int64_t)n / 2);
    assert_true(after - before < (int64_t)n * 2);
}

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t n = 3;
    void *p = NULL;
    struct check_log log;
    assert_false(alloc_mul_size(SIZE_MAX / 2, 3, &n));
    assert_int_equal(n, 3);
    check_log_start(&log);
    assert_int_equal(alloc_aligned(&p, SIZE_MAX / 8, 8, "activations"),
                     VD_SYSTEM);
    check_log_end();
    assert_logged(&log, "activations");
    assert_int_equal(alloc_aligned(&p, 3 << 20, 1, "activations"), VD_OK);
    assert_int_equal((uintptr_t)p % 64, 0);
    alloc_aligned_free(p);
}

/* A sink would be lost with the process, so the message goes to stderr. */
static void internal_errors_bypass_log_sinks(void **state)
{
    (void)state;
    char text[512] = "";
    int ends[2], status = 0;
    struct check_log log;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        check_log_start(&log);
        err_bug("a.c", 7, "a == b");
    }
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    assert_non_null(strstr(text, "internal error at a.c:7: a == b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_codes_follow_sysexits),
        cmocka_unit_test(errors_are_logged_once_and_propagated),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(typos_get_a_suggestion),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(texts_grow),
        cmocka_unit_test(files_are_read_whole_or_rejected),
        cmocka_unit_test(hash_of_pieces_is_hash_of_whole),
        cmocka_unit_test(philox_matches_published_vectors),
        cmocka_unit_test(uniform_and_normal_have_their_moments),
        cmocka_unit_test(peak_memory_is_per_process_and_never_falls),
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(internal_errors_bypass_log_sinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
