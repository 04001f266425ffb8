/*
 * Failing jobs, observed from outside: each ends soon, with the right exit code
 * and one message with the cause. The time limits of the jobs and of their
 * ranks are multiples of the duration of a job without faults.
 */
#include "check.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fault.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOON_S    120.0 /* at least; the default time limit is 10 minutes */
#define KILLED_S  1800  /* ends a job that hangs */
#define MAX_TRIES 5     /* of a test that depends on half a second */

static double soon_s;
static int late_s; /* longer than the delay of a rank without a fault */

static const char *const calls[] = {"agree",     "check_equal", "bcast",
                                    "allgather", "gather",      "sum",
                                    "sum_int64", "flags",       "barrier"};
#define N_CALLS (sizeof calls / sizeof *calls)

struct job {
    char output[32768];
    int status, causes; /* exit code; number of error messages */
    double seconds;
};

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

/* Runs a job; ranks 0: without mpirun. `variables` and `arguments` are shell
 * text. */
static void start(struct job *job, int ranks, const char *variables,
                  const char *arguments)
{
    char *mpirun = ranks ? xasprintf("%s %d", MPIEXEC, ranks) : xstrdup("");
    char *command = xasprintf("%s timeout -k 60 %d %s %s %s 2>&1", variables,
                              KILLED_S, mpirun, PROBE, arguments);
    double start_s = clock_now();
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(job->output, 1, sizeof job->output - 1, pipe);
    int status = pclose(pipe);
    job->output[n] = '\0';
    job->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    job->seconds = clock_now() - start_s;
    job->causes = count(job->output, "] error: ") +
                  count(job->output, "vocdist: error: ");
    free(command);
    free(mpirun);
}

#define assert_job(job, expected, n_causes)                               \
    do {                                                                  \
        if ((job)->status != (expected) || (job)->causes != (n_causes) || \
            !((job)->seconds < soon_s))                                   \
            fail_msg("status %d, %d causes, %.1f s:\n%s", (job)->status,  \
                     (job)->causes, (job)->seconds, (job)->output);       \
    } while (0)

#define assert_job_output(job, part)                              \
    do {                                                          \
        if (!strstr((job)->output, (part)))                       \
            fail_msg("no \"%s\" in:\n%s", (part), (job)->output); \
    } while (0)

/* Runs `call` on 3 ranks with the time limit `n` x late_s. */
static void start_with_limit(struct job *job, const char *variables,
                             const char *call, int n)
{
    char *arguments = xasprintf("%s %d", call, n * late_s);
    start(job, 3, variables, arguments);
    free(arguments);
}

static int measure(void **state)
{
    (void)state;
    struct job job;
    start(&job, 3, "", "all");
    soon_s = fmax(SOON_S, 10 * job.seconds);
    late_s = (int)ceil(job.seconds);
    return job.status;
}

static void a_clean_job_logs_nothing(void **state)
{
    (void)state;
    struct job job;
    for (int ranks = 0; ranks < 4; ranks++) {
        start(&job, ranks, "", "all");
        assert_job(&job, 0, 0);
        assert_string_equal(job.output, "");
    }
}

/* Every fifth site; tests/fault covers all of them, in real runs. */
static void an_error_at_a_site_ends_with_one_cause(void **state)
{
    (void)state;
    struct job job;
    for (int s = 0; s < FAULT_SITE_COUNT; s += 5) {
        const char *name = fault_site_name((enum fault_site)s);
        char *fault = xasprintf("VOCDIST_FAULT=%s:%d", name, s % 2);
        char *cause = xasprintf("injected fault at %s", name);
        start(&job, 2, fault, "agree");
        assert_job(&job, 70, 1);
        assert_job_output(&job, cause);
        free(cause);
        free(fault);
    }
}

static void an_error_in_any_call_ends_with_one_cause(void **state)
{
    (void)state;
    struct job job;
    for (size_t k = 0; k < N_CALLS; k++) {
        start(&job, 3, "VOCDIST_FAULT=data:1", calls[k]);
        assert_job(&job, 70, 1);
        assert_job_output(&job, "rank 1/3");
    }
}

static void a_rank_that_exits_ends_the_job(void **state)
{
    (void)state;
    struct job job;
    start(&job, 2, "VOCDIST_FAULT=data:1:exit", "barrier");
    assert_job(&job, 70, 0);
    start(&job, 2, "VOCDIST_FAULT=data:0:kill", "agree");
    assert_job(&job, 137, 0);
}

static void a_rank_that_hangs_is_named_by_the_others(void **state)
{
    (void)state;
    struct job job;
    char *silent = xasprintf("1 of 3 ranks did not arrive within %d s while "
                             "evaluating: rank 1 (",
                             2 * late_s);
    start_with_limit(&job, "VOCDIST_FAULT=eval:1:hang", "barrier", 2);
    assert_job(&job, 69, 1);
    assert_job_output(&job, "[rank 0/3");
    assert_job_output(&job, silent);
    start_with_limit(&job, "VOCDIST_FAULT=eval:0:hang", "sum", 1);
    assert_job(&job, 69, 1);
    assert_job_output(&job, "[rank 1/3");
    assert_job_output(&job, "while evaluating: rank 0 (");
    free(silent);
}

/* Rank 1 never arrives, another rank arrives late: only rank 1 is named. On a
 * busy machine the other rank may arrive too late. */
static void start_with_late_rank(struct job *job, const char *call)
{
    char *silent = xasprintf("1 of 3 ranks did not arrive within %d s while "
                             "opening the data: rank 1 (",
                             2 * late_s);
    for (int k = 0; k < MAX_TRIES; k++) {
        start_with_limit(job, "", call, 2);
        if (strstr(job->output, silent))
            break;
    }
    assert_job(job, 69, 1);
    assert_job_output(job, silent);
    free(silent);
}

/* A rank that arrives late answers when the limit of another rank passes. */
static void only_the_missing_rank_is_named(void **state)
{
    (void)state;
    struct job job;
    start_with_late_rank(&job, "late");
}

static void a_rank_that_makes_progress_is_waited_for(void **state)
{
    (void)state;
    struct job job;
    start_with_limit(&job, "", "busy", 2);
    assert_job(&job, 0, 0);
    assert_string_equal(job.output, "");
    assert_true(job.seconds > 5 * 2 * late_s);
}

static void a_rank_that_stops_making_progress_is_named(void **state)
{
    (void)state;
    struct job job;
    start_with_limit(&job, "", "busy-stuck", 2);
    assert_job(&job, 69, 1);
    assert_job_output(&job, "1 of 3 ranks did not arrive within");
    assert_job_output(&job, "while evaluating: rank 1 (");
    start_with_limit(&job, "", "busy-missing", 2);
    assert_job(&job, 69, 1);
    assert_job_output(&job, "1 of 3 ranks did not arrive within");
    assert_job_output(&job, "while evaluating: rank 2 (");
}

/* Rank 0 arrives while rank 2 collects the sites, and its own collection ends
 * later. */
static void the_reporting_rank_is_given_time(void **state)
{
    (void)state;
    struct job job;
    start_with_late_rank(&job, "reporter");
    assert_job_output(&job, "[rank 2/3");
}

static void ranks_at_different_sites_are_distinguished(void **state)
{
    (void)state;
    struct job job;
    start_with_limit(&job, "", "order", 1);
    assert_job(&job, 69, 1);
    assert_job_output(&job, "this one while opening the data");
    assert_job_output(&job, "rank 1 (");
    assert_job_output(&job, "while averaging gradients");
}

static void the_watchdog_ends_a_hung_rank_and_the_job(void **state)
{
    (void)state;
    struct job job;
    char *arguments = xasprintf("barrier %d %d 1", KILLED_S, late_s);
    char *idle = xasprintf("watchdog: no progress for %d s while computing a "
                           "step, step 0",
                           late_s);
    start(&job, 2, "VOCDIST_FAULT=data:1:hang", arguments);
    assert_job(&job, 70, 1);
    assert_job_output(&job, "[rank 1/2");
    assert_job_output(&job, idle);
    free(idle);
    free(arguments);
}

static void an_agreed_error_shuts_down_cleanly(void **state)
{
    (void)state;
    struct job job;
    start(&job, 3, "", "agreed");
    assert_job(&job, 65, 1);
    assert_job_output(&job, "rank 1 (");
    assert_job_output(&job, "failed while opening the data: input malformed");
    assert_null(strstr(job.output, "MPI_ABORT"));
}

static void a_handled_error_shuts_down_cleanly(void **state)
{
    (void)state;
    struct job job;
    for (int ranks = 2; ranks < 4; ranks++) {
        start(&job, ranks, "", "handled");
        assert_job(&job, 0, 0);
        assert_job_output(&job,
                          "failed while opening the data: input malformed");
    }
}

static void an_error_of_the_shutdown_aborts_the_job(void **state)
{
    (void)state;
    struct job job;
    for (int ranks = 0; ranks < 3; ranks += 2) {
        start(&job, ranks, "VOCDIST_FAULT=shutdown:0", "agreed");
        assert_job(&job, 70, ranks ? 2 : 1);
        assert_job_output(&job, "injected fault at shutdown");
    }
}

static void a_local_error_aborts_the_job(void **state)
{
    (void)state;
    struct job job;
    start(&job, 3, "", "raise");
    assert_job(&job, 65, 1);
}

static void any_rank_can_abort_the_job(void **state)
{
    (void)state;
    struct job job;
    start(&job, 4, "", "abort");
    assert_job(&job, 74, 1);
    assert_job_output(&job, "disk full");
}

static void separate_programs_under_srun_are_rejected(void **state)
{
    (void)state;
    struct job job;
    const char *first = "SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=0 SLURM_PROCID=0";
    const char *next = "SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=0 SLURM_PROCID=1";
    start(&job, 0, first, "agree");
    assert_job(&job, 78, 1);
    assert_job_output(&job, "srun --mpi=pmix vocdist");
    start(&job, 0, next, "agree");
    assert_job(&job, 78, 0);
    start(&job, 2, first, "agree"); // mpirun inside a Slurm step is valid
    assert_job(&job, 0, 0);
}

static void idle_cores_give_one_warning(void **state)
{
    (void)state;
    struct job job;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        skip();
    start(&job, 2, "taskset -c 0", "cores");
    assert_job(&job, 0, 0);
    assert_int_equal(count(job.output, "assigned to no rank"), 1);
    assert_job_output(&job, "add --bind-to none");
    start(&job, 2, "", "cores");
    assert_job(&job, 0, 0);
    assert_string_equal(job.output, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_job_logs_nothing),
        cmocka_unit_test(an_error_at_a_site_ends_with_one_cause),
        cmocka_unit_test(an_error_in_any_call_ends_with_one_cause),
        cmocka_unit_test(a_rank_that_exits_ends_the_job),
        cmocka_unit_test(a_rank_that_hangs_is_named_by_the_others),
        cmocka_unit_test(only_the_missing_rank_is_named),
        cmocka_unit_test(a_rank_that_makes_progress_is_waited_for),
        cmocka_unit_test(a_rank_that_stops_making_progress_is_named),
        cmocka_unit_test(the_reporting_rank_is_given_time),
        cmocka_unit_test(ranks_at_different_sites_are_distinguished),
        cmocka_unit_test(the_watchdog_ends_a_hung_rank_and_the_job),
        cmocka_unit_test(an_agreed_error_shuts_down_cleanly),
        cmocka_unit_test(a_handled_error_shuts_down_cleanly),
        cmocka_unit_test(an_error_of_the_shutdown_aborts_the_job),
        cmocka_unit_test(a_local_error_aborts_the_job),
        cmocka_unit_test(any_rank_can_abort_the_job),
        cmocka_unit_test(separate_programs_under_srun_are_rejected),
        cmocka_unit_test(idle_cores_give_one_warning),
    };
    return cmocka_run_group_tests(tests, measure, NULL);
}
