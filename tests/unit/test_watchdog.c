/* base/watchdog: ends a process that makes no progress, and no other. */
#include "check.h"

#include "base/clock.h"
#include "base/watchdog.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The limit of the watchdog. A slow or busy machine may not run a thread for
 * that long; then a test is repeated with a longer limit. */
static double limit_s;
#define LONGEST_LIMIT_S 60.0

static void sleep_s(double seconds)
{
    double whole = floor(seconds);
    struct timespec t = {(time_t)whole, (long)((seconds - whole) * 1e9)};
    nanosleep(&t, NULL);
}

/* Runs `body` in a child process; returns its exit status, fills `output` with
 * its standard error. */
static int in_child(void (*body)(void), char *output, size_t capacity)
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
    ssize_t n = read(ends[0], output, capacity - 1);
    output[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The exit status is 0 with one of several limits, from `least_limit_s` on. */
static void assert_survives(void (*body)(void), double least_limit_s)
{
    char output[512];
    int status = -1;
    for (limit_s = least_limit_s; status && limit_s < LONGEST_LIMIT_S;
         limit_s *= 4)
        status = in_child(body, output, sizeof output);
    assert_int_equal(status, 0);
    assert_string_equal(output, "");
}

static void stall(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_DATA, 120) != VD_OK)
        _exit(1);
    watchdog_arm(&w, SITE_CHECKPOINT, 123, 0.2);
    sleep_s(300);
}

/* The thread that hangs may hold the lock of stderr. */
static void stall_with_the_log_locked(void)
{
    flockfile(stderr);
    stall();
}

static void a_stalled_process_is_ended(void **state)
{
    (void)state;
    char output[512];
    double start = clock_now();
    assert_int_equal(in_child(stall, output, sizeof output), 70);
    assert_string_equal(output,
                        "vocdist: error: watchdog: no progress for 0.2 s "
                        "while writing the checkpoint, step 123; this "
                        "rank exits\n  ---> check the disks and the "
                        "network of this host, then run the same "
                        "command again\n");
    assert_int_equal(in_child(stall_with_the_log_locked, output, sizeof output),
                     70);
    assert_true(clock_now() - start < 100);
}

static void send_heartbeats(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_INIT, limit_s) != VD_OK)
        _exit(1);
    for (int k = 0; k < 12; k++) {
        sleep_s(limit_s / 4);
        watchdog_arm(&w, SITE_STEP, k, limit_s);
    }
    watchdog_stop(&w);
    sleep_s(2 * limit_s);
}

static void
a_process_with_heartbeats_or_a_stopped_watchdog_survives(void **state)
{
    (void)state;
    assert_survives(send_heartbeats, 0.4);
}

static void suspend_self(void)
{
    struct watchdog w;
    if (watchdog_start(&w, SITE_STEP, limit_s) != VD_OK)
        _exit(1);
    sleep_s(0.3 * limit_s); // until its thread runs
    pid_t me = getpid();
    if (fork() == 0) {
        sleep_s(2 * limit_s);
        kill(me, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    sleep_s(0.2 * limit_s);
    watchdog_stop(&w);
}

static void suspended_time_does_not_count(void **state)
{
    (void)state;
    assert_survives(suspend_self, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stalled_process_is_ended),
        cmocka_unit_test(
            a_process_with_heartbeats_or_a_stopped_watchdog_survives),
        cmocka_unit_test(suspended_time_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
