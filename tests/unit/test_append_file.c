/* run/append_file: one header, no gap, no duplicate row. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "run/append_file.h"

#include <unistd.h>

static void assert_file(const char *path, const char *expected)
{
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 1 << 16, &text, &n), VD_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void a_resumed_file_continues_at_the_checkpoint_length(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/a.csv", folder);
    struct append_file f;
    assert_int_equal(append_file_open(&f, path, "a,b", 0), VD_OK);
    assert_int_equal(append_file_printf(&f, "%d,%d\n", 1, 2), VD_OK);
    int64_t length = f.length;
    assert_int_equal(length, 8);
    assert_int_equal(append_file_printf(&f, "3,4\n"), VD_OK);
    assert_file(path, "a,b\n1,2\n3,4\n"); /* at once, not when closed */
    assert_int_equal(append_file_sync(&f), VD_OK);
    append_file_close(&f);

    assert_int_equal(append_file_open(&f, path, "a,b", length), VD_OK);
    assert_int_equal(append_file_printf(&f, "5,6\n"), VD_OK);
    assert_int_equal(f.length, 12);
    append_file_close(&f);
    assert_file(path, "a,b\n1,2\n5,6\n");

    assert_int_equal(append_file_open(&f, path, "a,b", 0), VD_OK);
    append_file_close(&f);
    assert_file(path, "a,b\n");
    free(path);
    check_folder_remove(folder);
}

static void a_shorter_file_is_rejected_unchanged(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/a.csv", folder);
    struct append_file f;
    struct check_log log;
    assert_int_equal(append_file_open(&f, path, "", 0), VD_OK);
    assert_int_equal(append_file_printf(&f, "12345\n"), VD_OK);
    append_file_close(&f);
    check_log_start(&log);
    assert_int_equal(append_file_open(&f, path, "", 7), VD_DATA);
    check_log_end();
    assert_logged(&log, "6 bytes, but the checkpoint recorded 7");
    assert_file(path, "12345\n");
    free(path);
    check_folder_remove(folder);
}

static void a_link_in_its_place_is_rejected_and_not_followed(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/a.csv", folder);
    char *mine = xasprintf("%s/mine.csv", folder);
    struct append_file f;
    struct check_log log;
    assert_int_equal(append_file_open(&f, mine, "my,rows", 0), VD_OK);
    append_file_close(&f);
    assert_int_equal(symlink("mine.csv", path), 0);
    for (int64_t length = 0; length < 2; length++) {
        check_log_start(&log);
        assert_int_equal(append_file_check(path, length), VD_CREATE);
        assert_int_equal(append_file_open(&f, path, "a,b", length), VD_CREATE);
        check_log_end();
        assert_logged(&log, "a.csv: a symbolic link");
    }
    assert_file(mine, "my,rows\n");
    free(mine);
    free(path);
    check_folder_remove(folder);
}

static void write_failures_are_errors(void **state)
{
    (void)state;
    struct append_file f;
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(append_file_open(&f, "/no/such/folder/a.csv", "", 0),
                     VD_CREATE);
    assert_null(f.stream);
    check_log_end();
    if (access("/dev/full", W_OK))
        skip();
    f = (struct append_file){.path = xstrdup("full"),
                             .stream = fopen("/dev/full", "a")};
    check_log_start(&log);
    assert_int_equal(append_file_printf(&f, "x\n"), VD_IO);
    check_log_end();
    assert_logged(&log, "full: cannot be written: No space");
    assert_logged(&log, "\n" FILE_WRITE_REMEDY);
    append_file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_file_continues_at_the_checkpoint_length),
        cmocka_unit_test(a_shorter_file_is_rejected_unchanged),
        cmocka_unit_test(a_link_in_its_place_is_rejected_and_not_followed),
        cmocka_unit_test(write_failures_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
