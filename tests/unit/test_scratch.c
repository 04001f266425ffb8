/* train/scratch and a trial's run: nothing is left, whatever ends it. */
#include "check.h"

#include "base/file.h"
#include "base/mem.h"
#include "train/run.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_file(const char *folder, const char *name)
{
    char *path = mem_format("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("text", f);
    fclose(f);
    free(path);
}

static size_t count(const char *folder)
{
    struct file_list list;
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    size_t n = list.n;
    file_list_clear(&list);
    return n;
}

/* A process with a trial of DIR/a open, its id; it waits to be ended. */
static pid_t hold(const char *dir)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct run r;
        signal(SIGTERM, SIG_DFL);
        byte = run_open_trial(&r, dir, "a") == VD_OK;
        write_file(r.checkpoints, "step-00000001.h5");
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void nothing_is_left_after_closing(void **state)
{
    (void)state;
    char *folder = check_folder(), *dir = mem_format("%s/x/y", folder);
    struct run r;
    struct train_state start = {0};
    assert_int_equal(run_open_trial(&r, dir, "a"), VD_OK);
    assert_int_equal(run_open_series(&r, &start), VD_OK);
    assert_true(file_is_folder(r.checkpoints));
    assert_string_equal(r.real + strlen(r.real) - 2, "/a");
    assert_false(file_exists(r.real));
    write_file(r.checkpoints, "step-00000001.h5");
    run_close(&r);
    assert_int_equal(count(folder), 0); /* x and y were made for it */
    free(dir);
    check_folder_remove(folder);
}

static void folders_of_others_stay(void **state)
{
    (void)state;
    char *folder = check_folder(), *dir = mem_format("%s/x", folder);
    struct run r;
    assert_int_equal(run_open_trial(&r, dir, "a"), VD_OK);
    write_file(dir, "of somebody who came later");
    run_close(&r);
    assert_int_equal(count(folder), 1);
    assert_int_equal(count(dir), 1);
    free(dir);
    check_folder_remove(folder);
}

static void a_run_in_progress_is_not_disturbed(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct run real, trial;
    assert_int_equal(run_open(&real, folder, "a"), VD_OK);
    size_t before = count(real.folder);
    assert_int_equal(run_open_trial(&trial, folder, "a"), VD_OK);
    assert_string_not_equal(trial.folder, real.folder);
    assert_string_equal(trial.past, real.checkpoints);
    run_close(&trial);
    assert_int_equal(count(real.folder), before);
    assert_int_equal(count(folder), 1);
    run_close(&real);
    check_folder_remove(folder);
}

static void a_folder_that_cannot_be_written_is_said(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct run r;
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(run_open_trial(&r, "/dev/null", "a"), VD_CREATE);
    run_close(&r);
    write_file(folder, "file");
    assert_int_equal(run_open_trial(&r, folder, "file"), VD_CREATE);
    run_close(&r);
    check_log_end();
    assert_says(&log, "/dev/null");
    assert_says(&log, "/file: Not a directory");
    assert_int_equal(count(folder), 1);
    check_folder_remove(folder);
}

static void term_removes_it_and_still_ends_the_process(void **state)
{
    (void)state;
    char *folder = check_folder();
    int status = 0;
    pid_t child = hold(folder);
    assert_int_equal(count(folder), 1);
    kill(child, SIGTERM);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(count(folder), 0);
    check_folder_remove(folder);
}

static void what_a_killed_trial_left_goes_with_the_next(void **state)
{
    (void)state;
    char *folder = check_folder();
    struct run r;
    struct check_log log;
    pid_t dead = hold(folder), alive = hold(folder);
    kill(dead, SIGKILL);
    waitpid(dead, NULL, 0);
    assert_int_equal(count(folder), 2);
    check_log_start(&log);
    assert_int_equal(run_open_trial(&r, folder, "a"), VD_OK);
    run_close(&r);
    check_log_end();
    assert_says(&log, "of a trial that was killed");
    assert_int_equal(count(folder), 1); /* of the one that lives */
    kill(alive, SIGTERM);
    waitpid(alive, NULL, 0);
    assert_int_equal(count(folder), 0);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_after_closing),
        cmocka_unit_test(folders_of_others_stay),
        cmocka_unit_test(a_run_in_progress_is_not_disturbed),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_said),
        cmocka_unit_test(term_removes_it_and_still_ends_the_process),
        cmocka_unit_test(what_a_killed_trial_left_goes_with_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
