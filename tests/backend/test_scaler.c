/*
 * Loss scaling: the state machine of backend/scaler.h, and updates with it on
 * the backends that have it (ref, deferred).
 */
#include "backend/cases.h"
#include "backend/net_fixture.h"

#include "backend/scaler.h"
#include "model/resnet.h"

/* ---- the state machine ---- */

static void the_first_bad_step_halts_without_loss_scaling(void **state)
{
    (void)state;
    const struct loss_scaling none = {0};
    float s[SCALER_N] = {0};
    assert_int_equal(scaler_advance(s, &none, true), UPDATE_APPLIED);
    assert_true(scaler_scale(s, &none) == 1);
    assert_int_equal(scaler_advance(s, &none, false), UPDATE_HALTED);
    assert_int_equal(scaler_advance(s, &none, true), UPDATE_HALTED);
    assert_true(scaler_count_applied(s, 7) == 7);
}

static void the_scale_is_halved_and_doubled(void **state)
{
    (void)state;
    const struct loss_scaling scaling = {.growth_steps = 3, .max_skipped = 2};
    float s[SCALER_N] = {[SCALER_SCALE] = 64};
    /* applied or not, and the scale afterwards */
    static const struct {
        bool finite;
        float scale;
    } steps[] = {{true, 64}, {true, 64},  {true, 128}, {false, 64},
                 {true, 64}, {false, 32}, {false, 16}, {true, 16},
                 {true, 16}, {true, 32}};
    int skipped = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        enum update_outcome outcome =
            scaler_advance(s, &scaling, steps[i].finite);
        skipped += !steps[i].finite;
        assert_int_equal(outcome,
                         steps[i].finite ? UPDATE_APPLIED : UPDATE_SKIPPED);
        assert_true(scaler_scale(s, &scaling) == steps[i].scale);
        assert_true(scaler_count_applied(s, i + 1) ==
                    i + 1 - (uint64_t)skipped);
    }
}

static void too_many_skipped_steps_in_a_row_halt(void **state)
{
    (void)state;
    const struct loss_scaling scaling = {.growth_steps = 3, .max_skipped = 2};
    float s[SCALER_N] = {[SCALER_SCALE] = 64};
    for (int i = 0; i < 2; i++)
        assert_int_equal(scaler_advance(s, &scaling, false), UPDATE_SKIPPED);
    assert_int_equal(scaler_advance(s, &scaling, false), UPDATE_HALTED);
    assert_int_equal(scaler_advance(s, &scaling, true), UPDATE_HALTED);
    assert_true(s[SCALER_SCALE] == 16 && s[SCALER_SKIPPED] == 2);
}

/* ---- updates ---- */

#define START_SCALE 1024

static void put_buf(struct net_fixture *f, struct buf *buf, const float *values)
{
    assert_int_equal(f->backend.ops->put(&f->backend, f->graph, buf, values),
                     VD_OK);
}

/* Trains one step on images of class `class`; its gradient is infinite with
 * `overflows`. */
static enum update_outcome train_step(struct net_fixture *f, int class,
                                      bool overflows)
{
    struct result results[2];
    f->items[0].class = class;
    net_fixture_stage(f);
    net_fixture_backward(f);
    float *exchange = net_fixture_get(f, &f->exchange);
    if (overflows)
        exchange[5] = INFINITY;
    put_buf(f, &f->exchange, exchange);
    free(exchange);
    enum update_outcome outcome = net_fixture_update(f).outcome;
    net_fixture_results(f, results);
    f->scalars.step++;
    return outcome;
}

struct scaled_run {
    struct graph graph;
    struct net_fixture fixture;
    float *state; /* at the end */
    size_t n;
    float scaler[SCALER_N];
};

/* Trains a step of every class in `classes`; the gradient of step `overflows`
 * is infinite, -1: of none. */
static void run_steps(struct scaled_run *r, const char *backend,
                      const struct loss_scaling *scaling, int n_steps,
                      const int *classes, int overflows)
{
    struct net_fixture *f = &r->fixture;
    const float start[SCALER_N] = {[SCALER_SCALE] = START_SCALE};
    struct optim optim = net_fixture_adam();
    small_net_build(&r->graph, 0, RESNET_FREEZE_STEM, false);
    net_fixture_open_scaled(f, backend, &r->graph, 2, NET_TRAIN, &optim,
                            scaling);
    net_fixture_fill(f, 3);
    put_buf(f, &f->weights.scaler, start);
    for (int i = 0; i < n_steps; i++)
        assert_int_equal(train_step(f, classes[i], i == overflows),
                         i == overflows ? UPDATE_SKIPPED : UPDATE_APPLIED);
    r->state = net_fixture_state(f, &r->n);
    float *scaler = net_fixture_get(f, &f->weights.scaler);
    memcpy(r->scaler, scaler, sizeof r->scaler);
    free(scaler);
    net_fixture_close(f);
    graph_clear(&r->graph);
}

static void compare_states(struct scaled_run *a, struct scaled_run *b)
{
    assert_true(a->n == b->n);
    assert_memory_equal(a->state, b->state, a->n * sizeof *a->state);
    free(a->state);
    free(b->state);
}

static const struct loss_scaling scaled = {.growth_steps = 2, .max_skipped = 1};
static const struct loss_scaling not_scaled = {0};
static const char *const scaling_backends[] = {"ref", "deferred", NULL};

/* The scale is a power of two. */
static void without_overflow_the_bits_are_equal(void **state)
{
    (void)state;
    const int classes[] = {0, 1, 0};
    net_fixture_backends(); /* sets the folder of the plugins */
    for (const char *const *name = scaling_backends; *name; name++) {
        struct scaled_run a, b;
        run_steps(&a, *name, &scaled, 3, classes, -1);
        run_steps(&b, *name, &not_scaled, 3, classes, -1);
        assert_true(a.scaler[SCALER_SCALE] == 2 * START_SCALE);
        compare_states(&a, &b);
    }
}

/* Adam's t does not count a skipped step: the bits are those of a run that did
 * not have it. */
static void a_skipped_step_changes_the_scale_only(void **state)
{
    (void)state;
    const int with_skipped[] = {0, 1, 0}, without[] = {0, 0};
    net_fixture_backends();
    for (const char *const *name = scaling_backends; *name; name++) {
        struct scaled_run a, b;
        run_steps(&a, *name, &scaled, 3, with_skipped, 1);
        run_steps(&b, *name, &not_scaled, 2, without, -1);
        assert_true(a.scaler[SCALER_SCALE] == START_SCALE / 2);
        assert_true(a.scaler[SCALER_SKIPPED] == 1);
        compare_states(&a, &b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bad_step_halts_without_loss_scaling),
        cmocka_unit_test(the_scale_is_halved_and_doubled),
        cmocka_unit_test(too_many_skipped_steps_in_a_row_halt),
        cmocka_unit_test(without_overflow_the_bits_are_equal),
        cmocka_unit_test(a_skipped_step_changes_the_scale_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
