/* base/fault: VOCDIST_FAULT makes a named site fail. */
#include "check.h"

#include "base/fault.h"

static enum vd_err visit_with_fault(const char *spec, enum fault_site site,
                                    int rank)
{
    struct check_log log;
    setenv("VOCDIST_FAULT", spec, 1);
    check_log_start(&log);
    enum vd_err err = fault_at(site, rank);
    check_log_end();
    if (err == VD_BUG)
        assert_logged(&log, "injected fault at");
    if (err == VD_CONFIG)
        assert_logged(&log, "SITE:RANK");
    return err;
}

static void without_the_variable_nothing_fails(void **state)
{
    (void)state;
    unsetenv("VOCDIST_FAULT");
    for (int s = 0; s < FAULT_SITE_COUNT; s++) {
        assert_int_equal(fault_at((enum fault_site)s, 0), VD_OK);
        assert_false(fault_nan((enum fault_site)s, 0));
    }
}

static void a_fault_hits_one_visit_of_one_site_on_one_rank(void **state)
{
    (void)state;
    assert_int_equal(visit_with_fault("data:2", SITE_MODEL, 2), VD_OK);
    assert_int_equal(visit_with_fault("data:2", SITE_DATA, 1), VD_OK);
    assert_int_equal(visit_with_fault("data:2", SITE_DATA, 2), VD_BUG);
    assert_int_equal(visit_with_fault("data:2", SITE_DATA, 2), VD_OK);
    // The two visits above count, so this is the third.
    assert_int_equal(visit_with_fault("data:2:error:4", SITE_DATA, 2), VD_OK);
    assert_int_equal(visit_with_fault("data:2:error:4", SITE_DATA, 2), VD_BUG);
}

static void nan_is_applied_by_the_caller(void **state)
{
    (void)state;
    assert_int_equal(visit_with_fault("step:0:nan:2", SITE_STEP, 0), VD_OK);
    assert_false(fault_nan(SITE_STEP, 0));
    assert_false(fault_nan(SITE_STEP, 1));
    assert_true(fault_nan(SITE_STEP, 0));
    assert_false(fault_nan(SITE_STEP, 0));
}

static void malformed_faults_are_rejected(void **state)
{
    (void)state;
    const char *const bad[] = {"",           "data",          "data:",
                               "data:x",     "no-site:0",     "data:0:",
                               "data:0:eat", "data:0:kill:x", "data:0:kill:1:2",
                               ":",          "data:0:kill:"};
    char long_one[300];
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_int_equal(visit_with_fault(bad[k], SITE_DATA, 0), VD_CONFIG);
    assert_int_equal(visit_with_fault(long_one, SITE_DATA, 0), VD_CONFIG);
    unsetenv("VOCDIST_FAULT");
}

static void site_names_are_unique_and_one_word(void **state)
{
    (void)state;
    for (int a = 0; a < FAULT_SITE_COUNT; a++) {
        const char *name = fault_site_name((enum fault_site)a);
        assert_true(strlen(name) > 0 && strcspn(name, ": ") == strlen(name));
        assert_true(strlen(fault_site_activity((enum fault_site)a)) > 0);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(name, fault_site_name((enum fault_site)b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_variable_nothing_fails),
        cmocka_unit_test(a_fault_hits_one_visit_of_one_site_on_one_rank),
        cmocka_unit_test(nan_is_applied_by_the_caller),
        cmocka_unit_test(malformed_faults_are_rejected),
        cmocka_unit_test(site_names_are_unique_and_one_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
