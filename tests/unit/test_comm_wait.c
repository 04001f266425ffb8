/* comm_wait() of the serial implementation: polls until done, passes errors on,
 * ends at the time limit. */
#include "check.h"

#include "comm/comm.h"

struct polls {
    int n, until; /* done at poll number `until` */
    enum vd_err err;
};

static enum vd_err poll(void *ctx, bool *done)
{
    struct polls *p = ctx;
    *done = ++p->n == p->until;
    return p->err;
}

static void it_polls_until_done(void **state)
{
    (void)state;
    struct comm c;
    struct polls twenty = {.until = 20}, fails = {.err = VD_IO};
    assert_int_equal(comm_open(&c, COMM_SETUP_TIMEOUT_S), VD_OK);
    assert_int_equal(comm_wait(&c, SITE_STEP, poll, &twenty), VD_OK);
    assert_int_equal(twenty.n, 20);
    assert_int_equal(comm_wait(&c, SITE_STEP, poll, &fails), VD_IO);
    assert_int_equal(fails.n, 1);
    comm_close(&c, VD_OK);
}

static void it_has_a_time_limit(void **state)
{
    (void)state;
    struct comm c;
    struct polls never = {.until = -1};
    struct check_log log;
    assert_int_equal(comm_open(&c, COMM_SETUP_TIMEOUT_S), VD_OK);
    c.timeout_s = 0.05;
    check_log_start(&log);
    assert_int_equal(comm_wait(&c, SITE_STEP, poll, &never), VD_COMM);
    check_log_end();
    assert_logged(&log, "while computing a step");
    assert_true(never.n > 1);
    comm_close(&c, VD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_polls_until_done),
        cmocka_unit_test(it_has_a_time_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
