/* run/run_folder, run/run_lock: one process at a time writes into a run. */
#include "run_holder.h"

#include "base/alloc.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- file systems that lack a kind of lock, or both ---- */

static bool no_flock, no_fcntl;

int __wrap_flock(int fd, int operation);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
    errno = ENOSYS;
    return no_flock ? -1 : __real_flock(fd, operation);
}

int __wrap_fcntl(int fd, int command, ...);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    errno = ENOLCK;
    return no_fcntl && command == F_SETLK ? -1
                                          : __real_fcntl(fd, command, argument);
}

/* ---- runs ---- */

static void check_second_process(void)
{
    char *folder = check_folder(), host[128] = "", who[256];
    struct run_folder r;
    struct check_log log;
    pid_t child = fork_run_holder(folder, run_folder_open);
    gethostname(host, sizeof host - 1);
    snprintf(who, sizeof who, "/a: in use by process %ld on %s", (long)child,
             host);
    check_log_start(&log);
    assert_int_equal(run_folder_open(&r, folder, "a"), VD_CREATE);
    check_log_end();
    assert_logged(&log, who);
    assert_logged(&log, "--train.name");
    run_folder_close(&r);
    /* Another name can be used; this one also, once that process is dead. */
    assert_int_equal(run_folder_open(&r, folder, "b"), VD_OK);
    run_folder_close(&r);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(run_folder_open(&r, folder, "a"), VD_OK);
    run_folder_close(&r);
    check_folder_remove(folder);
}

static void a_second_process_is_rejected_with_the_owner(void **state)
{
    (void)state;
    check_second_process();
    no_flock = true;
    check_second_process();
    no_flock = false;
}

static void a_file_system_without_locks_warns(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct run_folder r;
    struct check_log log;
    no_flock = no_fcntl = true;
    check_log_start(&log);
    assert_int_equal(run_folder_open(&r, folder, "a"), VD_OK);
    check_log_end();
    no_flock = no_fcntl = false;
    assert_logged(&log, "this file system has no locks (No locks available)\n"
                        "make sure that no second job uses this run");
    run_folder_close(&r);
    check_folder_remove(folder);
}

static void assert_taken_over(struct run_folder *r, const char *by)
{
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(run_folder_check_owner(r), VD_CREATE);
    assert_int_equal(append_file_printf(&r->steps, "a row of the old one\n"),
                     VD_CREATE);
    check_log_end();
    assert_logged(&log, "/a: taken over by process ");
    assert_logged(&log, by);
}

static void assert_no_rows(const char *folder)
{
    char *path = xasprintf("%s/a/steps.jsonl", folder), *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 4096, &text, &n), VD_OK);
    assert_string_equal(text, "");
    free(text);
    free(path);
}

/* The new process could not see the lock of the old one. */
static void a_process_that_lost_the_lock_writes_nothing(void **state)
{
    (void)state;
    char *folder = check_folder(), *lock = xasprintf("%s/a/.lock", folder);
    struct train_state start = {0};
    for (int k = 0; k < 2; k++) {
        struct run_folder old, new;
        struct check_log log;
        check_log_start(&log);
        no_flock = no_fcntl = k == 1;
        assert_int_equal(run_folder_open(&old, folder, "a"), VD_OK);
        assert_int_equal(run_folder_open_append_files(&old, &start), VD_OK);
        assert_int_equal(run_folder_check_owner(&old), VD_OK);
        if (k == 0)
            assert_int_equal(unlink(lock), 0);
        assert_int_equal(run_folder_open(&new, folder, "a"), VD_OK);
        no_flock = no_fcntl = false;
        check_log_end();
        assert_taken_over(&old, " on ");
        assert_no_rows(folder);
        assert_int_equal(run_folder_open_append_files(&new, &start), VD_OK);
        assert_int_equal(append_file_printf(&new.steps, "%d\n", 1), VD_OK);
        assert_int_equal(run_folder_check_owner(&new), VD_OK);
        run_folder_close(&old);
        run_folder_close(&new);
    }
    free(lock);
    check_folder_remove(folder);
}

static void a_removed_lock_file_is_recreated(void **state)
{
    (void)state;
    char *folder = check_folder(), *lock = xasprintf("%s/a/.lock", folder);
    struct run_folder r, other;
    struct check_log log;
    assert_int_equal(run_folder_open(&r, folder, "a"), VD_OK);
    assert_int_equal(unlink(lock), 0);
    check_log_start(&log);
    assert_int_equal(run_folder_check_owner(&r), VD_OK);
    assert_logged(&log, ".lock: was removed");
    assert_int_equal(run_folder_check_owner(&r), VD_OK);
    assert_int_equal(run_folder_open(&other, folder, "a"), VD_CREATE);
    check_log_end();
    assert_logged(&log, "in use by process ");
    run_folder_close(&other);
    run_folder_close(&r);
    free(lock);
    check_folder_remove(folder);
}

static void a_closed_run_can_be_opened_again(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct train_state start = {0};
    for (int k = 0; k < 3; k++) {
        struct run_folder r;
        assert_int_equal(run_folder_open(&r, folder, "a"), VD_OK);
        assert_true(file_is_folder(r.checkpoints));
        assert_int_equal(run_folder_open_append_files(&r, &start), VD_OK);
        char *path = run_folder_path(&r, "metrics.csv"), *text = NULL;
        size_t n = 0;
        assert_int_equal(file_read(path, 4096, &text, &n), VD_OK);
        assert_string_equal(text, RUN_METRICS_HEADER "\n");
        free(path);
        free(text);
        run_folder_close(&r);
    }
    check_folder_remove(folder);
}

/* In a run and in a scratch session of it, before anything is written. */
static void links_and_fifos_in_place_of_files_are_rejected(void **state)
{
    (void)state;
    static const char *const names[] = {".lock",       "log.txt",
                                        "metrics.csv", "steps.jsonl",
                                        "config.yaml", "run.json"};
    for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        char *folder = check_folder(), *run = xasprintf("%s/a", folder);
        char *path = xasprintf("%s/%s", run, names[i / 2]);
        struct run_folder r;
        struct check_log log;
        assert_int_equal(file_make_folder(run), VD_OK);
        if (i % 2)
            assert_int_equal(mkfifo(path, 0666), 0);
        else
            assert_int_equal(symlink("../mine", path), 0);
        check_log_start(&log);
        assert_int_equal(run_folder_open(&r, folder, "a"), VD_CREATE);
        run_folder_close(&r);
        assert_int_equal(run_folder_open_scratch(&r, folder, "a"), VD_CREATE);
        run_folder_close(&r);
        check_log_end();
        assert_logged(&log, names[i / 2]);
        assert_logged(&log, i % 2 ? "a FIFO" : "a symbolic link");
        assert_int_equal(check_count_files(run), 1);
        assert_int_equal(check_count_files(folder), 1);
        free(path);
        free(run);
        check_folder_remove(folder);
    }
}

static void a_folder_that_cannot_be_created_is_reported(void **state)
{
    (void)state;
    struct run_folder r;
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(run_folder_open(&r, "/dev/null", "a"), VD_CREATE);
    check_log_end();
    assert_logged(&log, "/dev/null");
    run_folder_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_process_is_rejected_with_the_owner),
        cmocka_unit_test(a_file_system_without_locks_warns),
        cmocka_unit_test(a_process_that_lost_the_lock_writes_nothing),
        cmocka_unit_test(a_removed_lock_file_is_recreated),
        cmocka_unit_test(a_closed_run_can_be_opened_again),
        cmocka_unit_test(links_and_fifos_in_place_of_files_are_rejected),
        cmocka_unit_test(a_folder_that_cannot_be_created_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
