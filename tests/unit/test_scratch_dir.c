/* run/scratch_dir: a scratch folder is removed however its process ends. */
#include "run_holder.h"

#include "base/alloc.h"
#include "base/file.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void write_file(const char *folder, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("text", f);
    fclose(f);
    free(path);
}

static enum vd_err open_with_a_checkpoint(struct run_folder *r, const char *dir,
                                          const char *name)
{
    VD_TRY(run_folder_open_scratch(r, dir, name));
    write_file(r->checkpoints, "step-00000001.h5");
    return VD_OK;
}

static void nothing_is_left_after_closing(void **state)
{
    (void)state;
    char *folder = check_folder(), *dir = xasprintf("%s/x/y", folder);
    struct run_folder r;
    struct train_state start = {0};
    assert_int_equal(run_folder_open_scratch(&r, dir, "a"), VD_OK);
    assert_int_equal(run_folder_open_append_files(&r, &start), VD_OK);
    assert_true(file_is_folder(r.checkpoints));
    assert_string_equal(r.own_folder + strlen(r.own_folder) - 2, "/a");
    assert_false(file_exists(r.own_folder));
    write_file(r.checkpoints, "step-00000001.h5");
    run_folder_close(&r);
    assert_int_equal(check_count_files(folder),
                     0); /* x and y were created for it */
    free(dir);
    check_folder_remove(folder);
}

static void other_files_are_kept(void **state)
{
    (void)state;
    char *folder = check_folder(), *dir = xasprintf("%s/x", folder);
    struct run_folder r;
    assert_int_equal(run_folder_open_scratch(&r, dir, "a"), VD_OK);
    write_file(dir, "a later file of another process");
    run_folder_close(&r);
    assert_int_equal(check_count_files(folder), 1);
    assert_int_equal(check_count_files(dir), 1);
    free(dir);
    check_folder_remove(folder);
}

static void a_run_in_progress_is_not_disturbed(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct run_folder real, scratch;
    assert_int_equal(run_folder_open(&real, folder, "a"), VD_OK);
    size_t before = check_count_files(real.path);
    assert_int_equal(run_folder_open_scratch(&scratch, folder, "a"), VD_OK);
    assert_string_not_equal(scratch.path, real.path);
    assert_string_equal(scratch.own_checkpoints, real.checkpoints);
    run_folder_close(&scratch);
    assert_int_equal(check_count_files(real.path), before);
    assert_int_equal(check_count_files(folder), 1);
    run_folder_close(&real);
    check_folder_remove(folder);
}

static void an_unwritable_folder_is_reported(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct run_folder r;
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(run_folder_open_scratch(&r, "/dev/null", "a"), VD_CREATE);
    run_folder_close(&r);
    write_file(folder, "file");
    assert_int_equal(run_folder_open_scratch(&r, folder, "file"), VD_CREATE);
    run_folder_close(&r);
    check_log_end();
    assert_logged(&log, "/dev/null");
    assert_logged(&log, "/file: Not a directory");
    assert_int_equal(check_count_files(folder), 1);
    check_folder_remove(folder);
}

/* Waits up to 5 minutes: the shell is no longer a child of this process. */
static bool becomes_empty(const char *folder)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    for (int k = 0; k < 30000 && check_count_files(folder) > 0; k++)
        nanosleep(&moment, NULL);
    return check_count_files(folder) == 0;
}

static void a_killed_session_leaves_nothing(void **state)
{
    (void)state;
    char *folder = check_folder(), *dir = xasprintf("%s/x y/z", folder);
    pid_t child = fork_run_holder(dir, open_with_a_checkpoint);
    assert_int_equal(check_count_files(dir), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(becomes_empty(folder));
    free(dir);
    check_folder_remove(folder);
}

/* As after a crash of the machine, or if all processes of a job are killed. */
static void stale_scratch_folders_are_removed(void **state)
{
    (void)state;
    char *folder = check_folder(), host[65] = "";
    struct run_folder r;
    struct check_log log;
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    waitpid(dead, NULL, 0);
    pid_t alive = fork_run_holder(folder, open_with_a_checkpoint);
    gethostname(host, sizeof host - 1);
    struct stat info;
    assert_int_equal(stat("/proc/self/ns/pid", &info), 0);
    unsigned long space = (unsigned long)info.st_ino;
    char *left = xasprintf("%s/.a.trial-%s-%lu-%ld/deep", folder, host, space,
                           (long)dead);
    /* of another container, where that number may be alive */
    char *other = xasprintf("%s/.a.trial-%s-%lu-%ld", folder, host, space + 1,
                            (long)dead);
    assert_int_equal(file_make_folder(left), VD_OK);
    assert_int_equal(file_make_folder(other), VD_OK);
    check_log_start(&log);
    assert_int_equal(run_folder_open_scratch(&r, folder, "a"), VD_OK);
    run_folder_close(&r);
    check_log_end();
    assert_logged(&log, "left by a killed scratch session");
    assert_false(file_exists(left));
    assert_true(file_exists(other)); /* its process may be alive */
    assert_int_equal(check_count_files(folder), 2);
    kill(alive, SIGKILL);
    waitpid(alive, NULL, 0);
    free(left);
    free(other);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_after_closing),
        cmocka_unit_test(other_files_are_kept),
        cmocka_unit_test(a_run_in_progress_is_not_disturbed),
        cmocka_unit_test(an_unwritable_folder_is_reported),
        cmocka_unit_test(a_killed_session_leaves_nothing),
        cmocka_unit_test(stale_scratch_folders_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
