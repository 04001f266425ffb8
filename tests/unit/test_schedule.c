/* train/schedule: equal to torch.optim.lr_scheduler at each step; warnings. */
#include "check.h"

#include "base/alloc.h"
#include "train/schedule.h"

#define STEPS 37

static const int64_t milestones[] = {5, 11, 30};

enum { CASES = 5 };

/* One run of torch for all cases: importing it takes seconds. */
static void torch_rates(const char *const *schedulers,
                        double rates[CASES][STEPS])
{
    char all[1024] = "", *command;
    for (int k = 0; k < CASES; k++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "lambda o: L.%s,",
                 schedulers[k]);
    command =
        xasprintf(PYTHON " -W ignore -c \"import torch\n"
                         "L = torch.optim.lr_scheduler\n"
                         "for make in [%s]:\n"
                         "    o = torch.optim.SGD([torch.zeros(1)], 0.3)\n"
                         "    s = make(o)\n"
                         "    for i in range(%d):\n"
                         "        print(repr(o.param_groups[0]['lr']))\n"
                         "        o.step()\n"
                         "        i < %d and s.step()\" 2>/dev/null",
                  all, STEPS, STEPS - 1);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    int n = 0;
    while (n < CASES * STEPS &&
           fscanf(pipe, "%lf", &rates[n / STEPS][n % STEPS]) == 1)
        n++;
    free(command);
    if (pclose(pipe) != 0 || n != CASES * STEPS)
        check_skip("PyTorch");
}

static void rates_match_torch(void **state)
{
    (void)state;
    static const struct {
        const char *torch;
        struct schedule ours;
    } cases[CASES] = {
        {"MultiStepLR(o, [5, 11, 30], gamma=0.2)",
         {.kind = SCHEDULE_STEP,
          .milestones = milestones,
          .n_milestones = 3,
          .gamma = 0.2}},
        {"CosineAnnealingLR(o, 37)", {.kind = SCHEDULE_COSINE}},
        {"OneCycleLR(o, 0.3, total_steps=37, cycle_momentum=False)",
         {.kind = SCHEDULE_ONECYCLE}},
        {"LambdaLR(o, lambda i: 1)", {.kind = SCHEDULE_CONSTANT}},
        {"LambdaLR(o, lambda i: min((i + 1) / 7, 1))",
         {.kind = SCHEDULE_CONSTANT, .warmup = 7}},
    };
    const char *schedulers[CASES];
    double rates[CASES][STEPS];
    for (int k = 0; k < CASES; k++)
        schedulers[k] = cases[k].torch;
    torch_rates(schedulers, rates);
    for (int k = 0; k < CASES; k++) {
        struct schedule s = cases[k].ours;
        s.lr = 0.3;
        s.steps = STEPS;
        for (uint64_t i = 0; i < STEPS; i++)
            assert_near(schedule_lr(&s, i), rates[k][i], 1e-12);
    }
}

static void ends_and_peaks_match_their_definitions(void **state)
{
    (void)state;
    struct schedule s = {
        .kind = SCHEDULE_ONECYCLE, .lr = 2, .steps = 100, .warmup = 0};
    assert_near(schedule_lr(&s, 0), 2.0 / 25, 1e-15);
    assert_near(schedule_lr(&s, 29), 2, 1e-15);
    assert_near(schedule_lr(&s, 99), 2.0 / 250000, 1e-15);
    s.kind = SCHEDULE_COSINE;
    assert_near(schedule_lr(&s, 50), 1, 1e-12);
}

static void the_last_rate_holds_past_the_end(void **state)
{
    (void)state;
    for (int kind = 0; kind <= SCHEDULE_ONECYCLE; kind++) {
        struct schedule s = {.kind = (enum config_schedule)kind,
                             .lr = 0.7,
                             .steps = 50,
                             .gamma = 0.5,
                             .milestones = milestones,
                             .n_milestones = 3};
        double last = schedule_lr(&s, 49);
        assert_true(last > 0);
        assert_true(schedule_lr(&s, 50) == last);
        assert_true(schedule_lr(&s, UINT64_MAX) == last);
    }
}

static void the_shortest_schedules_are_finite(void **state)
{
    (void)state;
    for (uint64_t steps = 1; steps < 12; steps++)
        for (uint64_t i = 0; i < steps; i++) {
            struct schedule s = {
                .kind = SCHEDULE_ONECYCLE, .lr = 1, .steps = steps};
            double lr = schedule_lr(&s, i);
            assert_true(lr > 0 && lr <= 1);
        }
}

/* The warning for a run of `last` steps that resumes after `first`. */
static void assert_warns(struct schedule s, uint64_t first, uint64_t last,
                         const char *cause, const char *remedy)
{
    struct check_log log;
    s.lr = 0.5;
    check_log_start(&log);
    schedule_warn(&s, first, last);
    check_log_end();
    if (!cause) {
        assert_string_equal(log.text, "");
        return;
    }
    assert_logged(&log, cause);
    assert_logged(&log, remedy);
    char *second = strchr(strchr(log.text, '\n') + 1, '\n') + 1;
    assert_string_equal(second, ""); /* one warning of two lines */
}

static void a_schedule_that_ends_before_the_run_warns(void **state)
{
    (void)state;
    static const enum config_schedule falling[] = {SCHEDULE_COSINE,
                                                   SCHEDULE_ONECYCLE};
    for (int k = 0; k < 2; k++) {
        struct schedule s = {.kind = falling[k], .steps = 1000};
        assert_warns(s, 0, 1000, NULL, NULL);
        assert_warns(s, 0, 999, NULL, NULL);
        assert_warns(s, 1000, 1000, NULL, NULL);
        assert_warns(s, 1000, 2000, "ends at step 1000", "schedule_steps 2000");
        assert_warns(s, 0, 1001, "peak is 0.5", "schedule_steps 1001");
    }
    struct schedule constant = {.steps = 10};
    assert_warns(constant, 0, 99, NULL, NULL);
}

static void a_warmup_longer_than_the_run_warns(void **state)
{
    (void)state;
    struct schedule s = {.steps = 100, .warmup = 100};
    assert_warns(s, 0, 100, NULL, NULL);
    s.warmup = 200;
    assert_warns(s, 0, 100,
                 "warmup: 200 steps, but the run ends at step 100: the "
                 "learning rate is 0.25 there, its peak is 0.5",
                 "\ngive --optim.warmup 10");
    assert_warns(s, 7, 100, "0.25", "a run of another name --optim.warmup 10");
    assert_warns(s, 0, 300, "but the schedule ends at step 100", "warmup 10");
}

static void unreached_milestones_warn(void **state)
{
    (void)state;
    struct schedule s = {.kind = SCHEDULE_STEP,
                         .steps = 31,
                         .gamma = 0.1,
                         .milestones = milestones,
                         .n_milestones = 3};
    assert_warns(s, 0, 31, NULL, NULL);
    s.steps = 30; /* after 30 steps there is none left */
    assert_warns(s, 0, 30,
                 "milestones: 30 is not reached: the run ends at "
                 "step 30",
                 "below 30, or more --train.epochs");
    assert_warns(s, 0, 40, "30 is not reached: the schedule ends at step 30",
                 "schedule_steps 40");
    s.steps = 8;
    assert_warns(s, 2, 8, "milestones: 11 is not reached", "below 8");
    s.kind = SCHEDULE_CONSTANT;
    assert_warns(s, 0, 8, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_match_torch),
        cmocka_unit_test(ends_and_peaks_match_their_definitions),
        cmocka_unit_test(the_last_rate_holds_past_the_end),
        cmocka_unit_test(the_shortest_schedules_are_finite),
        cmocka_unit_test(a_schedule_that_ends_before_the_run_warns),
        cmocka_unit_test(a_warmup_longer_than_the_run_warns),
        cmocka_unit_test(unreached_milestones_warn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
