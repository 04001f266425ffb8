/*
 * base/file, base/log: only regular files are opened; opening never blocks; the
 * target of a symbolic link is not changed.
 */
#include "check.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = check_folder();
    alarm(60); /* ends a test that blocks */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alarm(0);
    check_folder_remove(folder);
    return 0;
}

/* A path in the folder of the test. Owned. */
static char *in_folder(const char *name)
{
    return xasprintf("%s/%s", folder, name);
}

static void make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(
        bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* Creates a file that is not regular; false when that is not permitted. */
static bool make_special_file(const char *kind, const char *path)
{
    if (!strcmp(kind, "a FIFO"))
        assert_int_equal(mkfifo(path, 0666), 0);
    else if (!strcmp(kind, "a folder"))
        assert_int_equal(mkdir(path, 0777), 0);
    else if (!strcmp(kind, "a socket"))
        make_socket(path);
    else
        return mknod(path, S_IFCHR | 0666, makedev(1, 7)) == 0; /* full */
    return true;
}

static const char *const special_types[] = {"a FIFO", "a folder", "a socket",
                                            "a device"};
#define N_SPECIAL_TYPES (sizeof special_types / sizeof *special_types)

static void only_regular_files_are_read(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t n = 0;
    for (size_t i = 0; i < N_SPECIAL_TYPES; i++) {
        struct check_log log;
        char *path = in_folder(special_types[i]);
        if (make_special_file(special_types[i], path)) {
            check_log_start(&log);
            assert_int_equal(file_read(path, 99, &bytes, &n), VD_DATA);
            check_log_end();
            assert_logged(&log, path);
            assert_logged(&log, "not a regular file, but ");
            assert_logged(&log, special_types[i]);
            assert_logged(&log, "\ngive the name of a file");
        }
        free(path);
    }
}

static void a_link_to_a_file_is_read(void **state)
{
    (void)state;
    char *path = in_folder("a"), *link = in_folder("b"), *bytes = NULL;
    size_t n = 0;
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    assert_int_equal(symlink("a", link), 0);
    assert_int_equal(file_read(link, 99, &bytes, &n), VD_OK);
    assert_string_equal(bytes, "abc");
    free(bytes);
    free(path);
    free(link);
}

static void only_regular_files_are_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SPECIAL_TYPES; i++) {
        struct check_log log;
        char *path = in_folder(special_types[i]);
        int fd = -7;
        if (make_special_file(special_types[i], path)) {
            check_log_start(&log);
            assert_int_equal(file_check_output(path), VD_CREATE);
            assert_int_equal(file_open_output(path, O_WRONLY, &fd), VD_CREATE);
            assert_int_equal(file_open_output(path, O_RDWR, &fd), VD_CREATE);
            check_log_end();
            assert_int_equal(fd, -7);
            assert_logged(&log, special_types[i]);
            assert_logged(&log, "\nremove it");
        }
        free(path);
    }
}

static void the_target_of_a_link_is_not_changed(void **state)
{
    (void)state;
    char *target = in_folder("mine"), *link = in_folder("log.txt");
    struct check_log log;
    struct stat info;
    int fd = open(target, O_WRONLY | O_CREAT, 0666);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    static const char *const targets[] = {"mine", "missing"};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(symlink(targets[k], link), 0);
        check_log_start(&log);
        assert_int_equal(file_check_output(link), VD_CREATE);
        assert_int_equal(file_open_output(link, O_RDWR | O_TRUNC, &fd),
                         VD_CREATE);
        check_log_end();
        assert_logged(&log, "log.txt: a symbolic link");
        assert_logged(&log, "\nremove the link");
        assert_int_equal(unlink(link), 0);
    }
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_size, 3);
    assert_int_equal(check_count_files(folder), 1); /* nor was one created */
    free(target);
    free(link);
}

static void an_output_is_created_or_kept(void **state)
{
    (void)state;
    char *path = in_folder("a");
    struct stat info;
    assert_int_equal(file_check_output(path), VD_OK);
    for (int k = 1; k <= 2; k++) {
        int fd = -1;
        assert_int_equal(file_open_output(path, O_WRONLY | O_APPEND, &fd),
                         VD_OK);
        assert_int_equal(write(fd, "x", 1), 1);
        close(fd);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_size, k);
        assert_int_equal(file_check_output(path), VD_OK);
    }
    free(path);
}

static void the_log_file_gets_every_line(void **state)
{
    (void)state;
    char *path = in_folder("log.txt"), *bytes = NULL;
    int year = 0, fd = -1;
    size_t n = 0;
    assert_int_equal(file_open_output(path, O_WRONLY | O_APPEND, &fd), VD_OK);
    log_set_file(fd);
    log_warn("the cause\nthe remedy");
    log_set_file(-1);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* the log has closed it */
    log_warn("after the end");
    assert_int_equal(file_read(path, 999, &bytes, &n), VD_OK);
    assert_int_equal(sscanf(bytes, "%d-", &year), 1);
    assert_true(year > 2000);
    assert_non_null(strstr(bytes, " vocdist: warning: the cause\n"
                                  "  ---> the remedy\n"));
    assert_null(strstr(bytes, "after the end"));
    free(bytes);
    free(path);
}

static void too_many_open_files_are_not_bad_data(void **state)
{
    (void)state;
    struct rlimit limit, few;
    struct check_log log;
    char *path = in_folder("a");
    int fd = -1, first = open("/dev/null", O_RDONLY);
    assert_int_equal(file_open_output(path, O_WRONLY, &fd), VD_OK);
    close(fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)first + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    check_log_start(&log);
    enum vd_err err = file_open_input(path, &fd, NULL);
    check_log_end();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(err, VD_SYSTEM);
    assert_logged(&log,
                  "a: Too many open files; the limit of this process is ");
    assert_logged(&log, "ulimit -n");
    close(first);
    free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_regular_files_are_read),
        TEST(a_link_to_a_file_is_read),
        TEST(only_regular_files_are_written),
        TEST(the_target_of_a_link_is_not_changed),
        TEST(an_output_is_created_or_kept),
        TEST(the_log_file_gets_every_line),
        TEST(too_many_open_files_are_not_bad_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
