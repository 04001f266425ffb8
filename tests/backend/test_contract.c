/*
 * The contract of backend.h apart from arithmetic, on every backend: the order
 * of ranges, non-finite steps and results, put and get, add, release_workspace,
 * staging, padding, and the messages for a missing backend. Arithmetic is in
 * test_ops.c and test_gradients.c.
 */
#include "backend/cases.h"
#include "backend/net_fixture.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "model/resnet.h"

#include <pthread.h>
#include <unistd.h>

/* Runs `test` on a small network of each backend. */
static void on_every_backend(void (*test)(struct net_fixture *),
                             enum net_mode mode)
{
    for (const char *const *name = net_fixture_backends(); *name; name++) {
        struct graph g;
        struct net_fixture f;
        struct optim optim = net_fixture_adam();
        small_net_build(&g, 0.5, RESNET_FREEZE_STEM, false);
        net_fixture_open(&f, *name, &g, 2, mode, &optim);
        net_fixture_fill(&f, 3);
        test(&f);
        net_fixture_close(&f);
        graph_clear(&g);
    }
}

static void check_ranges(struct net_fixture *f)
{
    const struct graph *g = f->graph;
    net_fixture_stage(f);
    net_fixture_backward(f);
    assert_true(f->n_ranges >= 2);
    assert_int_equal(f->ranges[0].first, g->n_trainable);
    assert_int_equal(f->ranges[0].n, g->n_stats + 1);
    size_t at = 0;
    for (int i = 1; i < f->n_ranges; i++) {
        assert_int_equal(f->ranges[i].first, at);
        at += f->ranges[i].n;
    }
    assert_int_equal(at, g->n_trainable);
}

static void statistics_are_ready_first_then_gradients_in_order(void **state)
{
    (void)state;
    on_every_backend(check_ranges, NET_TRAIN);
}

static void put_buf(struct net_fixture *f, struct buf *buf, const float *values)
{
    assert_int_equal(f->backend.ops->put(&f->backend, f->graph, buf, values),
                     VD_OK);
}

/* Updates with `bad` in element `at` of the exchange buffer: nothing changes.
 */
static void check_non_finite_element(struct net_fixture *f, size_t at,
                                     float bad)
{
    struct result results[2];
    const float not_halted[SCALER_N] = {0};
    put_buf(f, &f->weights.scaler, not_halted);
    net_fixture_stage(f);
    net_fixture_backward(f);
    float *exchange = net_fixture_get(f, &f->exchange);
    exchange[at] = bad;
    put_buf(f, &f->exchange, exchange);
    size_t n;
    float *before = net_fixture_state(f, &n);
    uint64_t version = f->weights.version;
    assert_int_equal(net_fixture_update(f).outcome, UPDATE_HALTED);
    float *after = net_fixture_state(f, &n);
    assert_memory_equal(before, after, n * sizeof *after);
    assert_true(f->weights.version == version);
    net_fixture_results(f, results);
    free(exchange);
    free(before);
    free(after);
}

static void check_non_finite(struct net_fixture *f)
{
    const struct graph *g = f->graph;
    check_non_finite_element(f, 0, NAN);
    check_non_finite_element(f, g->n_trainable - 1, INFINITY);
    check_non_finite_element(f, g->n_trainable + g->n_stats - 1, NAN);
    check_non_finite_element(f, g->n_exchange - 1, 0.125f);
}

static void a_non_finite_step_changes_nothing(void **state)
{
    (void)state;
    on_every_backend(check_non_finite, NET_TRAIN);
}

/* A step without a label, and one more before its results are read. */
static void check_halt(struct net_fixture *f)
{
    struct result results[2];
    struct update_result updates[2];
    size_t n;
    float *before = net_fixture_state(f, &n);
    for (int launched = 0, read = 0; read < 2; read++) {
        for (; launched < 2 && launched < read + f->backend.ops->depth;
             launched++) {
            f->items[0].box[0] = launched == 0 ? NAN : 1;
            net_fixture_stage(f);
            net_fixture_backward(f);
            net_fixture_launch_update(f);
        }
        net_fixture_results(f, results);
        assert_true(isfinite(results[0].l1) == (read == 1));
        assert_int_equal(f->backend.ops->update_result(f->net, &updates[read]),
                         VD_OK);
        assert_int_equal(updates[read].outcome, UPDATE_HALTED);
    }
    float *after = net_fixture_state(f, &n);
    assert_memory_equal(before, after, n * sizeof *after);
    float *scaler = net_fixture_get(f, &f->weights.scaler);
    assert_true(scaler[SCALER_HALTED] != 0 && scaler[SCALER_SKIPPED] == 0);
    free(before);
    free(after);
    free(scaler);
}

static void no_step_after_a_non_finite_one_changes_anything(void **state)
{
    (void)state;
    on_every_backend(check_halt, NET_TRAIN);
}

static void check_flag(struct net_fixture *f)
{
    const struct graph *g = f->graph;
    net_fixture_stage(f);
    net_fixture_backward(f);
    float *exchange = net_fixture_get(f, &f->exchange);
    assert_true(exchange[g->n_exchange - 1] == 0);
    free(exchange);
    float *params = net_fixture_get(f, &f->weights.param);
    params[g->n_params - 1] = NAN;
    assert_int_equal(
        f->backend.ops->put(&f->backend, g, &f->weights.param, params), VD_OK);
    f->weights.version++;
    struct result results[2];
    net_fixture_results(f, results);
    net_fixture_stage(f);
    net_fixture_backward(f);
    exchange = net_fixture_get(f, &f->exchange);
    assert_true(exchange[g->n_exchange - 1] == 1);
    free(exchange);
    free(params);
}

static void a_non_finite_loss_sets_the_flag(void **state)
{
    (void)state;
    on_every_backend(check_flag, NET_TRAIN);
}

static void check_round_trip(struct net_fixture *f)
{
    struct buf *bufs[] = {&f->weights.param, &f->weights.m, &f->weights.stats,
                          &f->exchange};
    for (int i = 0; i < 4; i++) {
        float *out = net_fixture_get(f, bufs[i]);
        for (size_t k = 0; k < bufs[i]->n; k++)
            out[k] = (float)k;
        assert_int_equal(
            f->backend.ops->put(&f->backend, f->graph, bufs[i], out), VD_OK);
        float *back = net_fixture_get(f, bufs[i]);
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

static void check_add(struct net_fixture *f)
{
    struct buf sum;
    const struct graph *g = f->graph;
    assert_int_equal(f->backend.ops->alloc(&f->backend, g, BUF_EXCHANGE, &sum),
                     VD_OK);
    float *values = net_fixture_get(f, &sum);
    for (size_t i = 0; i < sum.n; i++)
        values[i] = (float)(i % 100);
    assert_int_equal(f->backend.ops->put(&f->backend, g, &sum, values), VD_OK);
    net_fixture_stage(f);
    net_fixture_backward(f);
    float *other = net_fixture_get(f, &f->exchange);
    struct range whole = {0, sum.n};
    assert_int_equal(f->backend.ops->add(f->net, &sum, &f->exchange, whole),
                     VD_OK);
    float *out = net_fixture_get(f, &sum);
    for (size_t i = 0; i < sum.n; i++)
        assert_true(out[i] == values[i] + other[i]);
    f->backend.ops->free(&f->backend, &sum);
    free(values);
    free(other);
    free(out);
}

static void add_is_exact(void **state)
{
    (void)state;
    on_every_backend(check_add, NET_TRAIN);
}

/* The state after two steps; the caller frees it. */
static float *two_steps(struct net_fixture *f, bool releases, size_t *n)
{
    struct result results[2];
    net_fixture_reset(f);
    for (f->scalars.step = 1; f->scalars.step <= 2; f->scalars.step++) {
        net_fixture_stage(f);
        if (releases)
            assert_int_equal(f->backend.ops->release_workspace(f->net), VD_OK);
        net_fixture_backward(f);
        net_fixture_update(f);
        if (releases)
            assert_int_equal(f->backend.ops->release_workspace(f->net), VD_OK);
        net_fixture_results(f, results);
    }
    return net_fixture_state(f, n);
}

static void check_release_workspace(struct net_fixture *f)
{
    size_t n;
    float *straight = two_steps(f, false, &n),
          *released = two_steps(f, true, &n);
    assert_memory_equal(straight, released, n * sizeof *released);
    free(straight);
    free(released);
}

static void a_released_workspace_changes_no_bits(void **state)
{
    (void)state;
    on_every_backend(check_release_workspace, NET_TRAIN);
}

/* What fails between begin and end is canceled; the net can then be closed. */
static void check_cancel(struct net_fixture *f)
{
    const struct backend_ops *ops = f->backend.ops;
    bool replayed;
    net_fixture_stage(f);
    assert_int_equal(ops->begin(f->net, 7, &replayed), VD_OK);
    assert_int_equal(ops->forward(f->net), VD_OK);
    ops->cancel(f->net);
    assert_int_equal(ops->release_workspace(f->net), VD_OK);
}

static void calls_can_be_canceled(void **state)
{
    (void)state;
    on_every_backend(check_cancel, NET_TRAIN);
}

struct staging_thread {
    struct net_fixture *fixture;
    int staged; /* atomic */
};

static void *staging_thread_main(void *ctx)
{
    struct staging_thread *s = ctx;
    for (int i = 0; i < 3; i++) {
        s->fixture->items[0].class = i;
        net_fixture_stage(s->fixture);
        __atomic_add_fetch(&s->staged, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void wait_for_staged(struct staging_thread *s, int n)
{
    for (int ms = 0; ms < 300000; ms++) {
        if (__atomic_load_n(&s->staged, __ATOMIC_SEQ_CST) >= n)
            return;
        usleep(1000);
    }
    fail_msg("%d batches were not staged", n);
}

/* Two batches can be staged. The third stage call returns once the first batch
 * has been read, before its results are. Each forward computes the next batch
 * in order, and results come in that order. */
static void check_staging(struct net_fixture *f)
{
    struct staging_thread s = {f, 0};
    struct result results[3][2];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, staging_thread_main, &s), 0);
    wait_for_staged(&s, 2);
    usleep(20000);
    assert_int_equal(__atomic_load_n(&s.staged, __ATOMIC_SEQ_CST), 2);
    net_fixture_forward(f);
    wait_for_staged(&s, 3);
    pthread_join(thread, NULL);
    net_fixture_forward(f);
    net_fixture_forward(f);
    for (int i = 0; i < 3; i++)
        net_fixture_results(f, results[i]);
    for (int i = 0; i < 3; i++) {
        assert_true(results[i][1].ce == results[0][1].ce);
        assert_true(results[i][0].score == results[0][0].score);
    }
    assert_true(results[0][0].ce != results[1][0].ce);
    assert_true(results[1][0].ce != results[2][0].ce);
}

/* Backward reads the batch, too. */
static void check_training_staging(struct net_fixture *f)
{
    struct staging_thread s = {f, 0};
    struct result results[2];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, staging_thread_main, &s), 0);
    wait_for_staged(&s, 2);
    net_fixture_forward(f);
    usleep(20000);
    assert_int_equal(__atomic_load_n(&s.staged, __ATOMIC_SEQ_CST), 2);
    net_fixture_backward_only(f);
    wait_for_staged(&s, 3);
    pthread_join(thread, NULL);
    net_fixture_results(f, results);
}

static void two_batches_may_be_staged(void **state)
{
    (void)state;
    on_every_backend(check_staging, NET_EVAL);
}

static void a_training_batch_stays_until_backward(void **state)
{
    (void)state;
    on_every_backend(check_training_staging, NET_TRAIN);
}

/* Reads the losses of three steps and the state after them; `ahead` steps are
 * launched before the results of the first are read. */
static float *train_ahead(struct net_fixture *f, int ahead,
                          struct result (*results)[2],
                          struct update_result *updates, size_t *n)
{
    net_fixture_reset(f);
    for (int launched = 0, read = 0; read < 3; read++) {
        for (; launched < 3 && launched < read + ahead; launched++) {
            f->scalars.step = (uint64_t)launched + 1;
            f->items[0].class = launched;
            net_fixture_stage(f);
            net_fixture_backward(f);
            net_fixture_launch_update(f);
        }
        for (bool done = false; !done;)
            assert_int_equal(f->backend.ops->done(f->net, &done), VD_OK);
        net_fixture_results(f, results[read]);
        assert_int_equal(f->backend.ops->update_result(f->net, &updates[read]),
                         VD_OK);
    }
    return net_fixture_state(f, n);
}

/* A device measures its own time of each step, a host does not. */
static void check_seconds(const struct net_fixture *f,
                          const struct update_result *updates, double elapsed)
{
    double sum = 0;
    bool is_host = f->backend.ops->caps & BACKEND_HOST_MEMORY;
    for (int i = 0; i < 3; i++) {
        assert_true(is_host ? updates[i].seconds == 0 : updates[i].seconds > 0);
        sum += updates[i].seconds;
    }
    assert_true(sum <= elapsed);
}

static void check_in_flight(struct net_fixture *f)
{
    struct result a[3][2], b[3][2];
    struct update_result x[3], y[3];
    size_t n;
    float *one = train_ahead(f, 1, a, x, &n);
    double begin = clock_now();
    float *ahead = train_ahead(f, f->backend.ops->depth, b, y, &n);
    check_seconds(f, y, clock_now() - begin);
    assert_memory_equal(one, ahead, n * sizeof *ahead);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < 3; i++)
        assert_true(x[i].grad_norm == y[i].grad_norm);
    assert_true(x[0].grad_norm != x[1].grad_norm);
    free(one);
    free(ahead);
}

static void steps_in_flight_change_no_bits(void **state)
{
    (void)state;
    on_every_backend(check_in_flight, NET_TRAIN);
}

/* Pixels in one pinned block, then in two, give the results of unpinned ones.
 */
static void check_pinned(struct net_fixture *f)
{
    struct result results[3][2];
    struct backend *b = &f->backend;
    size_t bytes = graph_node_count(&f->graph->nodes[0]);
    for (int blocks = 0; blocks <= 2; blocks++) {
        for (int i = 0; i < blocks; i++)
            b->ops->pin(b, f->pixels + (size_t)i * bytes,
                        bytes * (size_t)(3 - blocks));
        net_fixture_stage(f);
        net_fixture_forward(f);
        net_fixture_results(f, results[blocks]);
        for (int i = 0; i < blocks; i++)
            b->ops->unpin(b, f->pixels + (size_t)i * bytes);
    }
    assert_memory_equal(results[0], results[1], sizeof results[0]);
    assert_memory_equal(results[0], results[2], sizeof results[0]);
}

static void pinned_pixels_change_no_bits(void **state)
{
    (void)state;
    on_every_backend(check_pinned, NET_EVAL);
}

static void check_padding(struct net_fixture *f)
{
    struct result full[2], padded[2];
    net_fixture_stage(f);
    net_fixture_forward(f);
    net_fixture_results(f, full);
    f->items[1].index = -1;
    f->images[1] = NULL;
    net_fixture_stage(f);
    net_fixture_forward(f);
    net_fixture_results(f, padded);
    assert_memory_equal(&full[0], &padded[0], sizeof *full);
    struct result zero = {0};
    assert_memory_equal(&padded[1], &zero, sizeof zero);
    float *input = net_fixture_value(f, 0);
    size_t n = graph_node_count(&f->graph->nodes[0]);
    for (size_t i = 0; input && i < n; i++)
        assert_true(input[n + i] == 0);
    free(input);
}

static void a_padding_item_changes_nothing(void **state)
{
    (void)state;
    on_every_backend(check_padding, NET_EVAL);
}

/* Sets all tensors whose names contain `tensor` to `value` (NaN: one element
 * of each): the cross entropy of every image is then not finite. */
static void check_non_finite_result(struct net_fixture *f, const char *tensor,
                                    float value)
{
    struct result results[2];
    float *params = net_fixture_get(f, &f->weights.param);
    for (int i = 0; i < f->graph->n_param_tensors; i++) {
        const struct graph_tensor *t = &f->graph->params[i];
        if (!strstr(t->name, tensor))
            continue;
        size_t n = isnan(value) ? 1 : t->count;
        for (size_t k = 0; k < n; k++)
            params[t->offset + k] = value;
    }
    assert_int_equal(
        f->backend.ops->put(&f->backend, f->graph, &f->weights.param, params),
        VD_OK);
    f->weights.version++;
    net_fixture_stage(f);
    net_fixture_forward(f);
    net_fixture_results(f, results);
    assert_false(isfinite(results[0].ce) || isfinite(results[1].ce));
    free(params);
}

static void check_nan_weight(struct net_fixture *f)
{
    check_non_finite_result(f, "conv1.weight", NAN);
}

static void check_overflow(struct net_fixture *f)
{
    check_non_finite_result(f, "conv", 3e38f);
    check_non_finite_result(f, "bn", 3e38f);
}

/* Fused or not, a ReLU or a pooling must not turn NaN into a number. */
static void non_finite_values_reach_the_result(void **state)
{
    (void)state;
    on_every_backend(check_nan_weight, NET_EVAL);
    on_every_backend(check_overflow, NET_EVAL);
}

/* A precision that the backend does not have is refused, or replaced by fp32 if
 * it is optional. Every backend computes in fp32. */
static void check_precision(const char *name, enum backend_precision precision)
{
    struct backend b;
    struct check_log log;
    struct backend_config config = {.plugin_dir = PLUGIN_DIR,
                                    .precision = precision};
    check_log_start(&log);
    enum vd_err err = backend_open(&b, name, &config);
    bool has = err == VD_OK;
    if (has)
        backend_close(&b);
    config.precision_is_optional = true;
    assert_int_equal(backend_open(&b, name, &config), VD_OK);
    check_log_end();
    assert_int_equal(has, b.ops->precisions >> precision & 1);
    assert_true(has || precision != BACKEND_FP32);
    backend_close(&b);
    if (has) {
        assert_string_equal(log.text, "");
        return;
    }
    assert_int_equal(err, VD_UNSUPPORTED);
    assert_logged(&log, "train.precision: backend ");
    assert_logged(&log, "give --train.precision fp32");
    assert_logged(&log, ": computing in fp32");
}

static void a_backend_opens_in_its_precisions_only(void **state)
{
    (void)state;
    for (const char *const *name = net_fixture_backends(); *name; name++)
        for (int p = 0; p < BACKEND_PRECISIONS; p++)
            check_precision(*name, (enum backend_precision)p);
}

/* Rank 5 of a node of N devices computes on device 5 mod N. The id is not part
 * of the description, which equal devices have in common. */
static void a_device_for_one_rank_has_an_id(void **state)
{
    (void)state;
    struct backend b;
    struct backend_config config = {.plugin_dir = PLUGIN_DIR, .local_rank = 5};
    for (const char *const *name = net_fixture_backends(); *name; name++) {
        assert_int_equal(backend_open(&b, *name, &config), VD_OK);
        assert_null(b.ops->device_id(&b));
        backend_close(&b);
    }
    for (int n = 1; n <= 8; n++) {
        char devices[16], id[32];
        snprintf(devices, sizeof devices, "%d", n);
        snprintf(id, sizeof id, "device-%d", 5 % n);
        setenv("DEFERRED_DEVICES", devices, 1);
        assert_int_equal(backend_open(&b, "deferred", &config), VD_OK);
        assert_string_equal(b.ops->device_id(&b), id);
        assert_null(strstr(b.ops->describe(&b), id));
        backend_close(&b);
    }
    unsetenv("DEFERRED_DEVICES");
}

/* ---- tuning ---- */

/* Creates a net with the plan and frees it. */
static enum vd_err try_plan(struct net_fixture *f, const struct graph *g,
                            struct weights *weights, int batch,
                            const void *plan, size_t n)
{
    struct net *net = NULL;
    struct net_spec spec = {.graph = g,
                            .weights = weights,
                            .micro_batch = batch,
                            .mode = NET_TRAIN,
                            .threads = 1,
                            .optim = net_fixture_adam(),
                            .std = {1, 1, 1},
                            .plan = plan,
                            .plan_bytes = n};
    enum vd_err err = f->backend.ops->net_new(&f->backend, &spec, &net);
    f->backend.ops->net_free(net);
    return err;
}

/* With the fixture's graph, weights and micro-batch. */
static enum vd_err try_own_plan(struct net_fixture *f, const void *plan,
                                size_t n)
{
    return try_plan(f, f->graph, &f->weights, f->batch, plan, n);
}

/* A changed byte and another length, of which every seventh is tried. */
static void check_damaged_plans(struct net_fixture *f, const char *plan,
                                size_t n)
{
    char *bad = xcalloc(n + 1, 1);
    memcpy(bad, plan, n);
    for (size_t i = 0; i < n; i += 7) {
        bad[i] ^= 1;
        assert_int_equal(try_own_plan(f, bad, n), VD_DATA);
        bad[i] ^= 1;
        assert_int_equal(try_own_plan(f, bad, i), VD_DATA);
    }
    assert_int_equal(try_own_plan(f, bad, n + 1), VD_DATA);
    assert_int_equal(try_own_plan(f, bad, n), VD_OK);
    free(bad);
}

/* deferred-check is another device than deferred. */
static void check_other_device(const struct net_spec *spec, const void *plan,
                               size_t n)
{
    struct net_fixture other;
    const struct optim optim = net_fixture_adam();
    net_fixture_open(&other, "deferred-check", spec->graph, spec->micro_batch,
                     NET_TRAIN, &optim);
    assert_int_equal(try_own_plan(&other, plan, n), VD_CONFIG);
    net_fixture_close(&other);
}

static void check_plans(struct net_fixture *f, const struct net_spec *spec)
{
    struct graph larger;
    struct weights weights;
    void *plan = NULL;
    size_t n = 0;
    small_net_build(&larger, 0.25, RESNET_FREEZE_STEM, false);
    assert_int_equal(weights_alloc(&f->backend, &larger, &weights), VD_OK);
    assert_int_equal(f->backend.ops->tune(&f->backend, spec, &plan, &n), VD_OK);
    assert_true(n > 0);
    check_damaged_plans(f, plan, n);
    assert_int_equal(try_plan(f, f->graph, &f->weights, f->batch + 1, plan, n),
                     VD_CONFIG);
    assert_int_equal(try_plan(f, &larger, &weights, f->batch, plan, n),
                     VD_CONFIG);
    if (!strcmp(f->backend.ops->name, "deferred"))
        check_other_device(spec, plan, n);
    weights_free(&f->backend, &weights);
    graph_clear(&larger);
    free(plan);
}

static void check_tune(struct net_fixture *f)
{
    const struct backend_ops *ops = f->backend.ops;
    struct net_spec spec = {.graph = f->graph,
                            .micro_batch = f->batch,
                            .mode = NET_TRAIN,
                            .threads = 1,
                            .optim = net_fixture_adam()};
    struct check_log log;
    void *plan;
    size_t n;
    check_log_start(&log);
    if (ops->caps & BACKEND_TUNES)
        check_plans(f, &spec);
    else
        assert_int_equal(ops->tune(&f->backend, &spec, &plan, &n),
                         VD_UNSUPPORTED);
    check_log_end();
    assert_logged(&log, "--tune off");
}

static void a_plan_is_used_only_where_it_is_valid(void **state)
{
    (void)state;
    on_every_backend(check_tune, NET_TRAIN);
}

static void a_missing_backend_reports_the_remedy(void **state)
{
    (void)state;
    struct backend b;
    struct backend_config config = {.local_rank = 0};
    struct check_log log;
    check_log_start(&log);
    assert_int_equal(backend_open(&b, "cuda", &config), VD_UNSUPPORTED);
    assert_int_equal(backend_open(&b, "tpu", &config), VD_CONFIG);
    check_log_end();
    assert_logged(&log, "no libvocdist_backend_cuda.so in ");
    assert_logged(&log, "auto, cpu, cuda, ref");
    check_log_start(&log);
    assert_int_equal(backend_open(&b, "auto", &config), VD_OK);
    backend_close(&b);
    check_log_end();
    assert_logged(&log, "backend auto: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_are_ready_first_then_gradients_in_order),
        cmocka_unit_test(a_non_finite_step_changes_nothing),
        cmocka_unit_test(no_step_after_a_non_finite_one_changes_anything),
        cmocka_unit_test(a_non_finite_loss_sets_the_flag),
        cmocka_unit_test(put_and_get_are_inverse),
        cmocka_unit_test(add_is_exact),
        cmocka_unit_test(a_released_workspace_changes_no_bits),
        cmocka_unit_test(calls_can_be_canceled),
        cmocka_unit_test(two_batches_may_be_staged),
        cmocka_unit_test(a_training_batch_stays_until_backward),
        cmocka_unit_test(steps_in_flight_change_no_bits),
        cmocka_unit_test(pinned_pixels_change_no_bits),
        cmocka_unit_test(a_padding_item_changes_nothing),
        cmocka_unit_test(non_finite_values_reach_the_result),
        cmocka_unit_test(a_backend_opens_in_its_precisions_only),
        cmocka_unit_test(a_device_for_one_rank_has_an_id),
        cmocka_unit_test(a_plan_is_used_only_where_it_is_valid),
        cmocka_unit_test(a_missing_backend_reports_the_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
