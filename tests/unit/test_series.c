/* report/series: one header, no gap, no doubled row. */
#include "check.h"

#include "base/file.h"
#include "base/mem.h"
#include "report/series.h"

#include <unistd.h>

static void assert_file(const char *path, const char *expected)
{
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 1 << 16, &text, &n), VD_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void a_resumed_series_goes_on_where_the_checkpoint_was(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = mem_format("%s/a.csv", folder);
    struct series s;
    assert_int_equal(series_open(&s, path, "a,b", 0), VD_OK);
    assert_int_equal(series_add(&s, "%d,%d\n", 1, 2), VD_OK);
    int64_t length = s.length;
    assert_int_equal(length, 8);
    assert_int_equal(series_add(&s, "3,4\n"), VD_OK);
    assert_file(path, "a,b\n1,2\n3,4\n"); /* at once, not when closed */
    assert_int_equal(series_sync(&s), VD_OK);
    series_close(&s);

    assert_int_equal(series_open(&s, path, "a,b", length), VD_OK);
    assert_int_equal(series_add(&s, "5,6\n"), VD_OK);
    assert_int_equal(s.length, 12);
    series_close(&s);
    assert_file(path, "a,b\n1,2\n5,6\n");

    assert_int_equal(series_open(&s, path, "a,b", 0), VD_OK);
    series_close(&s);
    assert_file(path, "a,b\n");
    free(path);
    check_folder_remove(folder);
}

static void a_shorter_file_is_refused_and_left_alone(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = mem_format("%s/a.csv", folder);
    struct series s;
    struct check_log log;
    assert_int_equal(series_open(&s, path, "", 0), VD_OK);
    assert_int_equal(series_add(&s, "12345\n"), VD_OK);
    series_close(&s);
    check_log_start(&log);
    assert_int_equal(series_open(&s, path, "", 7), VD_DATA);
    check_log_end();
    assert_says(&log, "6 bytes, but the checkpoint knows 7");
    assert_file(path, "12345\n");
    free(path);
    check_folder_remove(folder);
}

static void a_link_in_its_place_is_refused_and_not_followed(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = mem_format("%s/a.csv", folder);
    char *mine = mem_format("%s/mine.csv", folder);
    struct series s;
    struct check_log log;
    assert_int_equal(series_open(&s, mine, "my,rows", 0), VD_OK);
    series_close(&s);
    assert_int_equal(symlink("mine.csv", path), 0);
    for (int64_t length = 0; length < 2; length++) {
        check_log_start(&log);
        assert_int_equal(series_check(path, length), VD_CREATE);
        assert_int_equal(series_open(&s, path, "a,b", length), VD_CREATE);
        check_log_end();
        assert_says(&log, "a.csv: a symbolic link");
    }
    assert_file(mine, "my,rows\n");
    free(mine);
    free(path);
    check_folder_remove(folder);
}

static void what_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    struct series s;
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(series_open(&s, "/no/such/folder/a.csv", "", 0),
                     VD_CREATE);
    assert_null(s.stream);
    check_log_end();
    if (access("/dev/full", W_OK))
        skip();
    s = (struct series){.path = mem_copy_text("full"),
                        .stream = fopen("/dev/full", "a")};
    check_log_start(&log);
    assert_int_equal(series_add(&s, "x\n"), VD_IO);
    check_log_end();
    assert_says(&log, "full: cannot be written: No space");
    assert_says(&log, "\nmake room");
    series_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_series_goes_on_where_the_checkpoint_was),
        cmocka_unit_test(a_shorter_file_is_refused_and_left_alone),
        cmocka_unit_test(a_link_in_its_place_is_refused_and_not_followed),
        cmocka_unit_test(what_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
