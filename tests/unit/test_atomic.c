/* store/atomic: a file is either completely new or completely old, and no
 * temporary file is left. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "store/atomic.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_holds(const char *path, const char *expected)
{
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &n), VD_OK);
    assert_string_equal(bytes, expected);
    free(bytes);
}

static void commit_leaves_only_the_final_file(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/f", folder);
    struct atomic_file f;
    assert_int_equal(atomic_write(path, "old", 3), VD_OK);
    assert_int_equal(atomic_open(&f, path), VD_OK);
    fputs("new", f.stream);
    fflush(f.stream);
    assert_holds(path, "old");
    assert_int_equal(atomic_commit(&f), VD_OK);
    assert_holds(path, "new");
    assert_int_equal(check_count_files(folder), 1);
    atomic_abort(&f);
    assert_holds(path, "new");
    free(path);
    check_folder_remove(folder);
}

static void abort_keeps_the_old_file(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/f", folder);
    struct atomic_file f, none = {0};
    assert_int_equal(atomic_write(path, "old", 3), VD_OK);
    assert_int_equal(atomic_open(&f, path), VD_OK);
    fputs("new", f.stream);
    atomic_abort(&f);
    atomic_abort(&f);
    atomic_abort(&none);
    assert_holds(path, "old");
    assert_int_equal(check_count_files(folder), 1);
    free(path);
    check_folder_remove(folder);
}

static void a_library_may_write_the_reserved_name(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/f", folder);
    struct atomic_file f, g;
    assert_int_equal(atomic_reserve(&f, path), VD_OK);
    assert_int_equal(atomic_reserve(&g, path), VD_OK);
    assert_string_not_equal(f.temporary, g.temporary);
    char *pid = xasprintf("%ld", (long)getpid());
    assert_non_null(strstr(f.temporary, pid));
    free(pid);
    FILE *by_library = fopen(f.temporary, "w");
    fputs("theirs", by_library);
    fclose(by_library);
    assert_int_equal(atomic_commit(&f), VD_OK);
    atomic_abort(&g);
    assert_holds(path, "theirs");
    assert_int_equal(check_count_files(folder), 1);
    free(path);
    check_folder_remove(folder);
}

static void a_missing_folder_is_reported(void **state)
{
    (void)state;
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(atomic_write("/no/such/f", "x", 1), VD_CREATE);
    assert_int_equal(atomic_write("/proc/f", "x", 1), VD_CREATE);
    check_log_end();
    assert_logged(&log, "/no/such/f: open: No such file or directory");
    assert_logged(&log, "/proc/f: open: ");
}

static void a_failed_rename_leaves_no_temporary(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/d", folder);
    struct check_log log;
    assert_int_equal(file_make_folder(path), VD_OK);
    check_log_start(&log);
    assert_int_equal(atomic_write(path, "x", 1), VD_IO);
    check_log_end();
    assert_logged(&log, "/d: rename: Is a directory");
    assert_int_equal(check_count_files(folder), 1);
    free(path);
    check_folder_remove(folder);
}

static void non_regular_files_are_not_replaced(void **state)
{
    (void)state;
    char *folder = check_folder(), *pipe = xasprintf("%s/pipe", folder);
    char *link = xasprintf("%s/link", folder);
    const char *paths[] = {pipe, link};
    struct stat before, after;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(symlink("elsewhere", link), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lstat(paths[i], &before), 0);
        assert_int_equal(atomic_write(paths[i], "x", 1), VD_CREATE);
        assert_int_equal(lstat(paths[i], &after), 0);
        assert_true(before.st_ino == after.st_ino);
    }
    assert_int_equal(check_count_files(folder), 2);
    free(link);
    free(pipe);
    check_folder_remove(folder);
}

static void a_lost_library_file_is_an_error(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/f", folder);
    struct atomic_file f;
    struct check_log log;
    assert_int_equal(atomic_write(path, "old", 3), VD_OK);
    assert_int_equal(atomic_reserve(&f, path), VD_OK);
    unlink(f.temporary);
    check_log_start(&log);
    assert_int_equal(atomic_commit(&f), VD_IO);
    check_log_end();
    assert_logged(&log, "/f: fsync: No such file");
    assert_holds(path, "old");
    free(path);
    check_folder_remove(folder);
}

static void symlinks_are_replaced_and_failures_reported(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/last", folder);
    char to[16] = "";
    struct check_log log;
    char *left = xasprintf("%s.tmp-%ld-0", path, (long)getpid());
    assert_int_equal(symlink("x", left), 0); /* left by a dead process */
    assert_int_equal(atomic_symlink(path, "a"), VD_OK);
    unlink(left);
    free(left);
    assert_int_equal(atomic_symlink(path, "bc"), VD_OK);
    assert_int_equal(readlink(path, to, sizeof to - 1), 2);
    assert_string_equal(to, "bc");
    assert_int_equal(check_count_files(folder), 1);
    unlink(path);
    assert_int_equal(file_make_folder(path), VD_OK);
    check_log_start(&log);
    assert_int_equal(atomic_symlink(path, "a"), VD_IO);
    assert_int_equal(atomic_symlink("/no/such/last", "a"), VD_IO);
    check_log_end();
    assert_logged(&log, "/last: rename: ");
    assert_logged(&log, "/no/such/last: symlink: No such file");
    assert_int_equal(check_count_files(folder), 1);
    free(path);
    check_folder_remove(folder);
}

static void only_stale_temporaries_are_removed(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a.tmp-1-0", "b.h5.tmp-31-12", ".tmp-1-0",   "a",        "a.tmp",
        "a.tmp-1",   "a.tmp-1-",       "a.tmp-1-0b", "a.tmp--1", "a.tmp-x-1"};
    char *folder = check_folder(), *path;
    struct file_list list;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        path = xasprintf("%s/%s", folder, names[i]);
        assert_int_equal(atomic_write(path, "x", 1), VD_OK);
        free(path);
    }
    path = xasprintf("%s/last.tmp-7-0", folder);
    assert_int_equal(symlink("nowhere", path), 0);
    free(path);
    atomic_remove_stale(folder);
    atomic_remove_stale(folder);
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    assert_int_equal(list.n, sizeof names / sizeof *names - 2);
    file_list_clear(&list);
    check_folder_remove(folder);
}

/* Runs in a child process, because the limit cannot be raised again. Returns 0,
 * or the number of the failed check. */
static int write_beyond_limit(const char *path, bool small_pieces)
{
    struct rlimit limit = {4096, 4096};
    struct check_log log;
    struct atomic_file f;
    char block[64] = {0};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit))
        return 1;
    check_log_start(&log);
    if (atomic_open(&f, path) != VD_OK)
        return 2;
    for (int k = 0; k < 10000; k++) {
        size_t n = fwrite(block, 1, sizeof block, f.stream);
        if (n != sizeof block && !small_pieces)
            break;
    }
    if (atomic_commit(&f) != VD_IO)
        return 3;
    return strstr(log.text, ": write: ") ? 0 : 4;
}

static void a_write_over_the_limit_keeps_the_old_file(void **state)
{
    (void)state;
    for (int small = 0; small < 2; small++) {
        char *folder = check_folder(), *path = xasprintf("%s/f", folder);
        int status = -1;
        assert_int_equal(atomic_write(path, "old", 3), VD_OK);
        pid_t child = fork();
        if (child == 0)
            _exit(write_beyond_limit(path, small));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_holds(path, "old");
        assert_int_equal(check_count_files(folder), 1);
        free(path);
        check_folder_remove(folder);
    }
}

static void a_full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/f", folder);
    if (mount("none", folder, "tmpfs", 0, "size=64k")) {
        free(path);
        check_folder_remove(folder);
        skip(); /* needs root */
    }
    struct check_log log;
    const size_t n = 1 << 20;
    char *big = xcalloc(n, 1);
    assert_int_equal(atomic_write(path, "old", 3), VD_OK);
    check_log_start(&log);
    enum vd_err err = atomic_write(path, big, n);
    check_log_end();
    size_t left = check_count_files(folder);
    assert_holds(path, "old");
    umount(folder);
    assert_int_equal(err, VD_IO);
    assert_logged(&log, "/f: write: No space left on device");
    assert_int_equal(left, 1);
    free(big);
    free(path);
    check_folder_remove(folder);
}

#define WRITERS 4
static void *write_often(void *path)
{
    struct check_log log;
    check_log_start(&log);
    for (int k = 0; k < 50; k++)
        if (atomic_write(path, "0123456789", 10) != VD_OK)
            return path;
    return NULL;
}

static void concurrent_writers_do_not_mix(void **state)
{
    (void)state;
    char *folder = check_folder(), *path = xasprintf("%s/f", folder);
    pthread_t threads[WRITERS];
    for (int k = 0; k < WRITERS; k++)
        pthread_create(&threads[k], NULL, write_often, path);
    for (int k = 0; k < WRITERS; k++) {
        void *failed = NULL;
        pthread_join(threads[k], &failed);
        assert_null(failed);
    }
    assert_holds(path, "0123456789");
    assert_int_equal(check_count_files(folder), 1);
    free(path);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_leaves_only_the_final_file),
        cmocka_unit_test(abort_keeps_the_old_file),
        cmocka_unit_test(a_library_may_write_the_reserved_name),
        cmocka_unit_test(a_missing_folder_is_reported),
        cmocka_unit_test(a_failed_rename_leaves_no_temporary),
        cmocka_unit_test(non_regular_files_are_not_replaced),
        cmocka_unit_test(a_lost_library_file_is_an_error),
        cmocka_unit_test(symlinks_are_replaced_and_failures_reported),
        cmocka_unit_test(only_stale_temporaries_are_removed),
        cmocka_unit_test(a_write_over_the_limit_keeps_the_old_file),
        cmocka_unit_test(a_full_disk_keeps_the_old_file),
        cmocka_unit_test(concurrent_writers_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
