/* base/watchdog: ends a process that stands still, and only such a one. */
#include "check.h"

#include "base/clock.h"
#include "base/watchdog.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of the watchdog. Where the machine is so slow or busy that a thread may not
 * run for that long, a test is repeated with a longer one. */
static double limit_s;
#define LONGEST_LIMIT_S 60.0

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

/* Its exit status is 0 with the least of some limits, or of none. */
static void assert_lives(void (*body)(void), double least_limit_s)
{
    char said[512];
    int status = -1;
    for (limit_s = least_limit_s; status && limit_s < LONGEST_LIMIT_S;
         limit_s *= 4)
        status = in_child(body, said, sizeof said);
    assert_int_equal(status, 0);
    assert_string_equal(said, "");
}

static void stand_still(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_DATA, 120) != VD_OK)
        _exit(1);
    watchdog_beat(&w, SITE_CHECKPOINT, 123, 0.2);
    nap(300);
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
    assert_true(clock_now() - start < 100);
}

static void beat_on(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_OPEN, limit_s) != VD_OK)
        _exit(1);
    for (int k = 0; k < 12; k++) {
        nap(limit_s / 4);
        watchdog_beat(&w, SITE_STEP, k, limit_s);
    }
    watchdog_stop(&w);
    nap(2 * limit_s);
}

static void a_process_that_beats_or_stopped_it_lives(void **state)
{
    (void)state;
    assert_lives(beat_on, 0.4);
}

static void be_suspended(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_STEP, limit_s) != VD_OK)
        _exit(1);
    nap(0.3 * limit_s); // until its thread is at work
    pid_t me = getpid();
    if (fork() == 0) {
        nap(2 * limit_s);
        kill(me, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    nap(0.2 * limit_s);
    watchdog_stop(&w);
}

static void time_stands_still_while_suspended(void **state)
{
    (void)state;
    assert_lives(be_suspended, 1);
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
