/* base/watchdog: ends a process that stands still, and only such a one. */
#include "check.h"

#include "base/clock.h"
#include "base/watchdog.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void nap(double seconds)
{
    double whole = floor(seconds);
    struct timespec t = {(time_t)whole, (long)((seconds - whole) * 1e9)};
    nanosleep(&t, NULL);
}

/* Runs `body` in a process of its own; its exit status, its stderr. */
static int in_child(void (*body)(void), char *said, size_t room)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, room - 1);
    said[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void stand_still(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_DATA, 5) != VD_OK)
        _exit(1);
    watchdog_beat(&w, SITE_CHECKPOINT, 123, 0.2);
    nap(10);
}

/* The log's lock may be held by the thread that hangs. */
static void stand_still_with_the_log_in_use(void)
{
    flockfile(stderr);
    stand_still();
}

static void a_process_that_stands_still_is_ended(void **state)
{
    (void)state;
    char said[512];
    double start = clock_now();
    assert_int_equal(in_child(stand_still, said, sizeof said), 70);
    assert_string_equal(said, "vocdist: error: watchdog: no progress for 0.2 s "
                              "while writing the checkpoint, step 123; this "
                              "rank ends\n");
    assert_int_equal(
        in_child(stand_still_with_the_log_in_use, said, sizeof said), 70);
    assert_true(clock_now() - start < 5);
}

static void beat_on(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_OPEN, 0.4) != VD_OK)
        _exit(1);
    for (int k = 0; k < 12; k++) {
        nap(0.1);
        watchdog_beat(&w, SITE_STEP, k, 0.4);
    }
    watchdog_stop(&w);
    nap(0.8);
}

static void a_process_that_beats_or_stopped_it_lives(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(in_child(beat_on, said, sizeof said), 0);
    assert_string_equal(said, "");
}

static void be_suspended(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_STEP, 1) != VD_OK)
        _exit(1);
    nap(0.3); // until its thread is at work
    pid_t me = getpid();
    if (fork() == 0) {
        nap(2);
        kill(me, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    nap(0.2);
    watchdog_stop(&w);
}

static void time_stands_still_while_suspended(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(in_child(be_suspended, said, sizeof said), 0);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_stands_still_is_ended),
        cmocka_unit_test(a_process_that_beats_or_stopped_it_lives),
        cmocka_unit_test(time_stands_still_while_suspended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
