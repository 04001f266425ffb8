/* run/train_state: round trip of every bit; damage is rejected. */
#include "check.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "run/train_state.h"

static struct train_state random_state(uint64_t i)
{
    uint32_t w[4];
    rng_words(5, RNG_TEST, i, 0, w);
    struct train_state s = {.step = w[0],
                            .epoch = w[1],
                            .epoch_seconds = 1 / (double)(w[2] + 1),
                            .has_best = i % 2,
                            .best = i % 2 ? w[3] / 3.0 : 0,
                            .epochs_without_improvement = w[3],
                            .metrics_bytes = w[1],
                            .steps_bytes = INT64_MAX - w[2],
                            .data_digest = (uint64_t)w[0] << 32 | w[3],
                            .best_metric_data = (uint64_t)w[1] << 32 | w[2],
                            .total = w[2],
                            .has_plan = i % 3,
                            .plan_digest = i % 3 ? w[3] : 0};
    for (int k = 0; k < 2; k++)
        s.sums[k] =
            (struct loss_sums){.n = w[k],
                               .n_finite = w[k] - (i % 2 ? w[k] / 3 : 0),
                               .l1 = w[k] * 1e297,
                               .ce = -w[k + 1] / 7.0,
                               .loss = w[k + 2] * 5e-324};
    snprintf(s.machine, sizeof s.machine, "cpu \"%u\", x\\y", w[0]);
    if (i % 3 == 0) { /* with loss scaling */
        s.scaler[SCALER_SCALE] = ldexpf(1, (int)(w[0] % 50) - 25);
        s.step = w[0] + 1000000u;
        s.scaler[SCALER_SKIPPED] = (float)(w[1] % 1000000);
        s.scaler[SCALER_APPLIED_IN_ROW] = (float)(w[2] % 2000);
        s.scaler[SCALER_SKIPPED_IN_ROW] = (float)(w[3] % 20);
    }
    return s;
}

static void state_round_trips_bitwise(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 200; i++) {
        struct train_state s = random_state(i), back;
        memset(&back, 0xaa, sizeof back);
        char *text = train_state_format(&s), *again;
        assert_int_equal(train_state_parse(&back, "here", text), VD_OK);
        assert_int_equal(back.step, s.step);
        assert_int_equal(back.epoch, s.epoch);
        assert_memory_equal(back.sums, s.sums, sizeof s.sums);
        assert_memory_equal(&back.epoch_seconds, &s.epoch_seconds, 8);
        assert_int_equal(back.has_best, s.has_best);
        assert_memory_equal(&back.best, &s.best, 8);
        assert_int_equal(back.epochs_without_improvement,
                         s.epochs_without_improvement);
        assert_int_equal(back.metrics_bytes, s.metrics_bytes);
        assert_int_equal(back.steps_bytes, s.steps_bytes);
        assert_int_equal(back.data_digest, s.data_digest);
        assert_int_equal(back.best_metric_data, s.best_metric_data);
        assert_int_equal(back.total, s.total);
        assert_memory_equal(back.scaler, s.scaler, sizeof s.scaler);
        assert_string_equal(back.machine, s.machine);
        assert_int_equal(back.has_plan, s.has_plan);
        assert_int_equal(back.plan_digest, s.plan_digest);
        again = train_state_format(&back);
        assert_string_equal(again, text);
        free(text);
        free(again);
    }
}

static void states_without_patience_are_read(void **state)
{
    (void)state;
    struct train_state s = random_state(3), back = random_state(9);
    char *text = train_state_format(&s), *stale = strstr(text, "\"stale\"");
    char *next = strchr(stale, ',') + 1;
    memmove(stale, next, strlen(next) + 1);
    assert_null(strstr(text, "stale"));
    assert_int_equal(train_state_parse(&back, "here", text), VD_OK);
    assert_int_equal(back.epochs_without_improvement, 0);
    assert_int_equal(back.metrics_bytes, s.metrics_bytes);
    free(text);
}

static void states_without_a_tuning_plan_are_read(void **state)
{
    (void)state;
    struct train_state s = random_state(4), back = random_state(4);
    char *text = train_state_format(&s), *plan = strstr(text, "\"plan\"");
    assert_true(back.has_plan && strchr(plan, ',') == NULL);
    strcpy(strrchr(text, ','), "}"); /* it is the last member */
    assert_int_equal(train_state_parse(&back, "here", text), VD_OK);
    assert_false(back.has_plan);
    assert_int_equal(back.total, s.total);
    free(text);
}

/* Truncated or changed text is an error. */
static void damage_is_rejected_and_leaves_the_state_unchanged(void **state)
{
    (void)state;
    struct train_state s = random_state(3);
    char *text = train_state_format(&s);
    size_t n = strlen(text);
    struct check_log log;
    for (size_t cut = 0; cut < n; cut++) {
        struct train_state untouched = random_state(9), now = untouched;
        char *part = xstrdup(text);
        part[cut] = '\0';
        check_log_start(&log);
        assert_int_equal(train_state_parse(&now, "ckpt.h5", part), VD_DATA);
        check_log_end();
        assert_logged(&log, "ckpt.h5");
        assert_int_equal(now.step, untouched.step);
        free(part);
    }
    static const char *const bad[] = {"{}", "[]", "{\"step\": -1}",
                                      "{\"step\": \"1\"}", "null"};
    check_log_start(&log);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_int_equal(train_state_parse(&s, "x", bad[k]), VD_DATA);
    char *digest = strstr(text, "data_digest");
    digest[15] = 'z';
    assert_int_equal(train_state_parse(&s, "x", text), VD_DATA);
    check_log_end();
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_round_trips_bitwise),
        cmocka_unit_test(states_without_patience_are_read),
        cmocka_unit_test(states_without_a_tuning_plan_are_read),
        cmocka_unit_test(damage_is_rejected_and_leaves_the_state_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
