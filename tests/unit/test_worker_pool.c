/* base/worker_pool: order, bounded look-ahead, the first error in order, and a
 * clean stop, at any number of threads. */
#include "check.h"

#include "base/log.h"
#include "base/worker_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { SLOTS = 5, JOBS = 700, NO_JOB = 1 << 30 };

struct squares {
    size_t slots[SLOTS];
    size_t fails_from; /* this job and later ones fail */
    atomic_size_t n_released, n_run;
    atomic_bool too_far;
};

/* pthread_create() is wrapped (see CMakeLists.txt). */
static int n_threads_allowed = NO_JOB;
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *ctx);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *ctx);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *ctx)
{
    if (n_threads_allowed-- <= 0)
        return EAGAIN;
    return __real_pthread_create(thread, attributes, run, ctx);
}

/* Every third job takes longer, so that jobs are done out of order. */
static enum vd_err square(void *ctx, size_t job, size_t slot)
{
    struct squares *s = ctx;
    if (job >= atomic_load(&s->n_released) + SLOTS)
        atomic_store(&s->too_far, true);
    if (job % 3 == 0)
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    s->slots[slot] = job * job;
    atomic_fetch_add(&s->n_run, 1);
    if (job >= s->fails_from)
        return VD_FAIL(VD_DATA, "job %zu is bad\nremove it", job);
    return VD_OK;
}

static struct worker_pool *start_pool(struct squares *s, int threads)
{
    struct worker_pool *pool = NULL;
    struct worker_pool_spec spec = {.what = "squares",
                                    .n_threads = threads,
                                    .min_threads = threads,
                                    .n_jobs = JOBS,
                                    .n_slots = SLOTS,
                                    .run = square,
                                    .ctx = s};
    assert_int_equal(worker_pool_new(&pool, &spec), VD_OK);
    return pool;
}

static void take_job(struct worker_pool *pool, struct squares *s, size_t job)
{
    size_t slot = 99;
    assert_int_equal(worker_pool_next(pool, &slot), VD_OK);
    assert_int_equal(slot, job % SLOTS);
    assert_int_equal(s->slots[slot], job * job);
    atomic_store(&s->n_released, job + 1);
    worker_pool_release(pool, slot);
}

static void results_are_in_order_and_look_ahead_is_bounded(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads++) {
        struct squares s = {.fails_from = NO_JOB};
        struct worker_pool *pool = start_pool(&s, threads);
        for (size_t job = 0; job < JOBS; job++)
            take_job(pool, &s, job);
        worker_pool_free(pool);
        assert_int_equal(s.n_run, JOBS);
        assert_false(s.too_far);
    }
}

static void several_slots_may_be_held(void **state)
{
    (void)state;
    struct squares s = {.fails_from = NO_JOB};
    struct worker_pool *pool = start_pool(&s, 3);
    size_t slots[SLOTS];
    for (size_t job = 0; job < SLOTS; job++)
        assert_int_equal(worker_pool_next(pool, &slots[job]), VD_OK);
    for (size_t job = 0; job < SLOTS; job++)
        assert_int_equal(s.slots[slots[job]], job * job);
    assert_int_equal(s.n_run, SLOTS);
    for (size_t job = 0; job < SLOTS; job++) {
        atomic_store(&s.n_released, job + 1);
        worker_pool_release(pool, slots[job]);
    }
    take_job(pool, &s, SLOTS);
    worker_pool_free(pool);
}

/* Later jobs fail as well, and some of them first. */
static void the_first_error_in_order_is_the_only_one(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads++) {
        struct squares s = {.fails_from = 30};
        struct check_log log;
        struct worker_pool *pool = start_pool(&s, threads);
        size_t slot = 99;
        check_log_start(&log);
        for (size_t job = 0; job < 30; job++)
            take_job(pool, &s, job);
        assert_string_equal(log.text, "");
        assert_int_equal(worker_pool_next(pool, &slot), VD_DATA);
        worker_pool_free(pool);
        check_log_end();
        assert_int_equal(slot, 99);
        assert_logged(&log, "job 30 is bad\nremove it");
        assert_null(strstr(log.text, "job 31"));
    }
}

static void an_early_stop_does_not_hang(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads++)
        for (size_t taken = 0; taken < 10; taken++) {
            struct squares s = {.fails_from = NO_JOB};
            struct worker_pool *pool = start_pool(&s, threads);
            for (size_t job = 0; job < taken; job++)
                take_job(pool, &s, job);
            worker_pool_free(pool);
            assert_true(s.n_run <= taken + SLOTS);
        }
    worker_pool_free(NULL);
}

/* EAGAIN at the third thread: enough for min_threads 2, not for 3. */
static void fewer_threads_may_start_but_not_below_the_minimum(void **state)
{
    (void)state;
    for (int min_threads = 2; min_threads <= 3; min_threads++) {
        struct squares s = {.fails_from = NO_JOB};
        struct check_log log;
        struct worker_pool *pool = NULL;
        struct worker_pool_spec spec = {.what = "squares",
                                        .n_threads = 4,
                                        .min_threads = min_threads,
                                        .n_jobs = JOBS,
                                        .n_slots = SLOTS,
                                        .run = square,
                                        .ctx = &s};
        n_threads_allowed = 2;
        check_log_start(&log);
        enum vd_err err = worker_pool_new(&pool, &spec);
        check_log_end();
        n_threads_allowed = NO_JOB;
        assert_int_equal(err, min_threads == 2 ? VD_OK : VD_SYSTEM);
        for (size_t job = 0; err == VD_OK && job < JOBS; job++)
            take_job(pool, &s, job);
        if (err != VD_OK)
            assert_logged(&log, "cannot start a thread for squares");
        worker_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_in_order_and_look_ahead_is_bounded),
        cmocka_unit_test(several_slots_may_be_held),
        cmocka_unit_test(the_first_error_in_order_is_the_only_one),
        cmocka_unit_test(an_early_stop_does_not_hang),
        cmocka_unit_test(fewer_threads_may_start_but_not_below_the_minimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
