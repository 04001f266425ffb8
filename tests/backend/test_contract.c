/* What backend.h promises beyond arithmetic, on every backend. */
#include "backend/cases.h"
#include "backend/rig.h"

#include "model/resnet.h"

#include <pthread.h>
#include <unistd.h>

/* Runs `test` on a small network of each backend. */
static void on_every_backend(void (*test)(struct rig *), enum net_mode mode)
{
    for (const struct backend_ops *const *ops = backend_list(); *ops; ops++) {
        struct graph g;
        struct rig r;
        struct optim optim = rig_adam();
        small_net_build(&g, 0.5, RESNET_FREEZE_STEM, false);
        rig_open(&r, (*ops)->name, &g, 2, mode, &optim);
        rig_fill(&r, 3);
        test(&r);
        rig_close(&r);
        graph_clear(&g);
    }
}

static void check_ranges(struct rig *r)
{
    const struct graph *g = r->graph;
    rig_stage(r);
    rig_backward(r);
    assert_true(r->n_ranges >= 2);
    assert_int_equal(r->ranges[0].first, g->n_trainable);
    assert_int_equal(r->ranges[0].n, g->n_stats + 1);
    size_t at = 0;
    for (int i = 1; i < r->n_ranges; i++) {
        assert_int_equal(r->ranges[i].first, at);
        at += r->ranges[i].n;
    }
    assert_int_equal(at, g->n_trainable);
}

static void statistics_are_ready_first_then_gradients_in_order(void **state)
{
    (void)state;
    on_every_backend(check_ranges, NET_TRAIN);
}

/* All of the state: param, m, v, stats behind each other. */
static float *whole_state(struct rig *r, size_t *n)
{
    const struct buf *bufs[] = {&r->weights.param, &r->weights.m, &r->weights.v,
                                &r->weights.stats};
    *n = 0;
    float *all = NULL;
    for (int i = 0; i < 4; i++) {
        float *part = rig_get(r, bufs[i]);
        all = realloc(all, (*n + bufs[i]->n) * sizeof *all);
        memcpy(all + *n, part, bufs[i]->n * sizeof *all);
        *n += bufs[i]->n;
        free(part);
    }
    return all;
}

/* Puts `bad` at element `at` of the exchange buffer and updates. */
static void check_poison(struct rig *r, size_t at, float bad)
{
    struct result results[2];
    rig_stage(r);
    rig_backward(r);
    float *exchange = rig_get(r, &r->exchange);
    exchange[at] = bad;
    assert_int_equal(
        r->backend.ops->put(&r->backend, r->graph, &r->exchange, exchange),
        VD_OK);
    size_t n;
    float *before = whole_state(r, &n);
    uint64_t version = r->weights.version;
    rig_update(r);
    struct update_result update;
    assert_int_equal(r->backend.ops->update_result(r->net, &update), VD_OK);
    assert_false(update.finite);
    float *after = whole_state(r, &n);
    assert_memory_equal(before, after, n * sizeof *after);
    assert_true(r->weights.version == version);
    rig_results(r, results);
    free(exchange);
    free(before);
    free(after);
}

static void check_non_finite(struct rig *r)
{
    const struct graph *g = r->graph;
    check_poison(r, 0, NAN);
    check_poison(r, g->n_trainable - 1, INFINITY);
    check_poison(r, g->n_trainable + g->n_stats - 1, NAN);
    check_poison(r, g->n_exchange - 1, 0.125f);
}

static void a_non_finite_step_changes_nothing(void **state)
{
    (void)state;
    on_every_backend(check_non_finite, NET_TRAIN);
}

static void check_flag(struct rig *r)
{
    const struct graph *g = r->graph;
    rig_stage(r);
    rig_backward(r);
    float *exchange = rig_get(r, &r->exchange);
    assert_true(exchange[g->n_exchange - 1] == 0);
    free(exchange);
    float *params = rig_get(r, &r->weights.param);
    params[g->n_params - 1] = NAN;
    assert_int_equal(
        r->backend.ops->put(&r->backend, g, &r->weights.param, params), VD_OK);
    r->weights.version++;
    struct result results[2];
    rig_results(r, results);
    rig_stage(r);
    rig_backward(r);
    exchange = rig_get(r, &r->exchange);
    assert_true(exchange[g->n_exchange - 1] == 1);
    free(exchange);
    free(params);
}

static void a_non_finite_loss_raises_the_flag(void **state)
{
    (void)state;
    on_every_backend(check_flag, NET_TRAIN);
}

static void check_round_trip(struct rig *r)
{
    struct buf *bufs[] = {&r->weights.param, &r->weights.m, &r->weights.stats,
                          &r->exchange};
    for (int i = 0; i < 4; i++) {
        float *out = rig_get(r, bufs[i]);
        for (size_t k = 0; k < bufs[i]->n; k++)
            out[k] = (float)k;
        assert_int_equal(
            r->backend.ops->put(&r->backend, r->graph, bufs[i], out), VD_OK);
        float *back = rig_get(r, bufs[i]);
        assert_memory_equal(out, back, bufs[i]->n * sizeof *out);
        free(out);
        free(back);
    }
}

static void put_and_get_are_inverse(void **state)
{
    (void)state;
    on_every_backend(check_round_trip, NET_TRAIN);
}

static void check_add(struct rig *r)
{
    struct buf sum;
    const struct graph *g = r->graph;
    assert_int_equal(r->backend.ops->alloc(&r->backend, g, BUF_EXCHANGE, &sum),
                     VD_OK);
    float *values = rig_get(r, &sum);
    for (size_t i = 0; i < sum.n; i++)
        values[i] = (float)(i % 100);
    assert_int_equal(r->backend.ops->put(&r->backend, g, &sum, values), VD_OK);
    rig_stage(r);
    rig_backward(r);
    float *other = rig_get(r, &r->exchange);
    struct range whole = {0, sum.n};
    assert_int_equal(r->backend.ops->add(r->net, &sum, &r->exchange, whole),
                     VD_OK);
    float *out = rig_get(r, &sum);
    for (size_t i = 0; i < sum.n; i++)
        assert_true(out[i] == values[i] + other[i]);
    r->backend.ops->free(&r->backend, &sum);
    free(values);
    free(other);
    free(out);
}

static void add_is_exact(void **state)
{
    (void)state;
    on_every_backend(check_add, NET_TRAIN);
}

/* The state after two steps; free() it. */
static float *two_steps(struct rig *r, bool rests, size_t *n)
{
    struct result results[2];
    rig_fill(r, 3);
    float *zeros = calloc(r->weights.m.n + 1, sizeof *zeros);
    struct buf *moments[] = {&r->weights.m, &r->weights.v};
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            r->backend.ops->put(&r->backend, r->graph, moments[i], zeros),
            VD_OK);
    free(zeros);
    for (r->knobs.step = 1; r->knobs.step <= 2; r->knobs.step++) {
        rig_stage(r);
        if (rests)
            assert_int_equal(r->backend.ops->rest(r->net), VD_OK);
        rig_backward(r);
        rig_update(r);
        if (rests)
            assert_int_equal(r->backend.ops->rest(r->net), VD_OK);
        rig_results(r, results);
    }
    return whole_state(r, n);
}

static void check_rest(struct rig *r)
{
    size_t n;
    float *straight = two_steps(r, false, &n), *rested = two_steps(r, true, &n);
    assert_memory_equal(straight, rested, n * sizeof *rested);
    free(straight);
    free(rested);
}

static void a_net_that_rested_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    on_every_backend(check_rest, NET_TRAIN);
}

struct stager {
    struct rig *rig;
    int staged; /* atomically */
};

static void *stage_three(void *ctx)
{
    struct stager *s = ctx;
    for (int i = 0; i < 3; i++) {
        s->rig->slots[0].class = i;
        rig_stage(s->rig);
        __atomic_add_fetch(&s->staged, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void wait_for(struct stager *s, int n)
{
    for (int ms = 0; ms < 300000; ms++) {
        if (__atomic_load_n(&s->staged, __ATOMIC_SEQ_CST) >= n)
            return;
        usleep(1000);
    }
    fail_msg("%d batches were not staged", n);
}

/* Two wait; the third one's stage returns when results released the first;
 * every forward sees its own batch, in order. */
static void check_places(struct rig *r)
{
    struct stager s = {r, 0};
    struct result results[3][2];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stage_three, &s), 0);
    wait_for(&s, 2);
    rig_forward(r);
    rig_forward(r);
    usleep(20000);
    assert_int_equal(__atomic_load_n(&s.staged, __ATOMIC_SEQ_CST), 2);
    rig_results(r, results[0]);
    wait_for(&s, 3);
    pthread_join(thread, NULL);
    rig_results(r, results[1]);
    rig_forward(r);
    rig_results(r, results[2]);
    for (int i = 0; i < 3; i++) {
        assert_true(results[i][1].ce == results[0][1].ce);
        assert_true(results[i][0].score == results[0][0].score);
    }
    assert_true(results[0][0].ce != results[1][0].ce);
    assert_true(results[1][0].ce != results[2][0].ce);
}

static void two_batches_may_be_pending(void **state)
{
    (void)state;
    on_every_backend(check_places, NET_EVAL);
}

static void check_padding(struct rig *r)
{
    struct result full[2], padded[2];
    rig_stage(r);
    rig_forward(r);
    rig_results(r, full);
    r->slots[1].sample = -1;
    r->places[1] = NULL;
    rig_stage(r);
    rig_forward(r);
    rig_results(r, padded);
    assert_memory_equal(&full[0], &padded[0], sizeof *full);
    struct result zero = {0};
    assert_memory_equal(&padded[1], &zero, sizeof zero);
    float *input = rig_value(r, 0);
    size_t n = graph_node_count(&r->graph->nodes[0]);
    for (size_t i = 0; input && i < n; i++)
        assert_true(input[n + i] == 0);
    free(input);
}

static void a_padding_slot_changes_nothing(void **state)
{
    (void)state;
    on_every_backend(check_padding, NET_EVAL);
}

/* Sets tensors whose names have `tensor` in them, NaN in one element only: no
 * image has a finite cross entropy. */
static void check_lost(struct rig *r, const char *tensor, float value)
{
    struct result results[2];
    float *params = rig_get(r, &r->weights.param);
    for (int i = 0; i < r->graph->n_param_tensors; i++) {
        const struct graph_tensor *t = &r->graph->params[i];
        if (!strstr(t->name, tensor))
            continue;
        size_t n = isnan(value) ? 1 : t->count;
        for (size_t k = 0; k < n; k++)
            params[t->offset + k] = value;
    }
    assert_int_equal(
        r->backend.ops->put(&r->backend, r->graph, &r->weights.param, params),
        VD_OK);
    r->weights.version++;
    rig_stage(r);
    rig_forward(r);
    rig_results(r, results);
    assert_false(isfinite(results[0].ce) || isfinite(results[1].ce));
    free(params);
}

static void check_nan_weight(struct rig *r)
{
    check_lost(r, "conv1.weight", NAN);
}

static void check_overflow(struct rig *r)
{
    check_lost(r, "conv", 3e38f);
    check_lost(r, "bn", 3e38f);
}

/* Whatever is fused: a ReLU or a pool must not make figures of NaN. */
static void values_that_are_not_finite_reach_the_result(void **state)
{
    (void)state;
    on_every_backend(check_nan_weight, NET_EVAL);
    on_every_backend(check_overflow, NET_EVAL);
}

static void a_backend_that_is_missing_says_how_to_get_it(void **state)
{
    (void)state;
    struct backend b;
    struct backend_config config = {.tune = "off"};
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(backend_open(&b, "cuda", &config), VD_UNSUPPORTED);
    assert_int_equal(backend_open(&b, "tpu", &config), VD_CONFIG);
    check_log_end();
    assert_says(&log, "this version has no CUDA backend");
    assert_says(&log, "auto, cpu, cuda, ref");
    check_log_start(&log);
    assert_int_equal(backend_open(&b, "auto", &config), VD_OK);
    backend_close(&b);
    check_log_end();
    assert_says(&log, "backend auto: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_are_ready_first_then_gradients_in_order),
        cmocka_unit_test(a_non_finite_step_changes_nothing),
        cmocka_unit_test(a_non_finite_loss_raises_the_flag),
        cmocka_unit_test(put_and_get_are_inverse),
        cmocka_unit_test(add_is_exact),
        cmocka_unit_test(a_net_that_rested_goes_on_with_the_same_bits),
        cmocka_unit_test(two_batches_may_be_pending),
        cmocka_unit_test(a_padding_slot_changes_nothing),
        cmocka_unit_test(values_that_are_not_finite_reach_the_result),
        cmocka_unit_test(a_backend_that_is_missing_says_how_to_get_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
