/*
 * Exchange nccl with the collective of plugin deferred: the bits are those of
 * the reduction tree and of exchange mpi, also if ranks are out of step or two
 * steps are in flight; which exchange is chosen; a rank that leaves.
 */
#include "backend/cases.h"
#include "backend/net_fixture.h"
#include "mpi_check.h"
#include "tree_sum.h"

#include "backend/collective.h"
#include "base/alloc.h"
#include "model/resnet.h"
#include "train/step.h"

#include <unistd.h>

#define BATCH    2
#define STEPS    4
#define LIMIT_S  60.0
#define MB       ((size_t)1 << 18) /* elements */
#define OK(call) assert_int_equal((call), VD_OK)

/* A training net of one rank with its step. */
struct step_fixture {
    struct graph graph;
    struct net_fixture net;
    struct step step;
    uint64_t n_staged;
};

static void step_fixture_open(struct step_fixture *f, const char *backend,
                              int replicas)
{
    struct optim optim = net_fixture_adam();
    *f = (struct step_fixture){.n_staged = 0};
    /* a rank that waits without a limit for a mean is ended by the watchdog */
    comm_enter(&comm, SITE_REDUCE, -1, LIMIT_S);
    small_net_build(&f->graph, 0.5, RESNET_FREEZE_STEM, false);
    net_fixture_open(&f->net, backend, &f->graph, BATCH, NET_TRAIN, &optim);
    net_fixture_reset(&f->net);
    OK(step_init(&f->step, &comm, &f->net.backend, f->net.net, &f->graph,
                 replicas));
}

static void step_fixture_close(struct step_fixture *f)
{
    step_close(&f->step);
    net_fixture_close(&f->net);
    graph_clear(&f->graph);
}

/* ---- means of given values ---- */

/* Fills this rank's partial sums. */
static void fill_partials(struct step_fixture *f, int step)
{
    const struct reduction_plan *plan = &f->step.plan;
    size_t n = f->graph.n_exchange;
    float *values = xcalloc(n, sizeof *values);
    for (int k = 0; k < plan->n_partials; k++) {
        struct reduction_node node = plan->partials[k];
        for (size_t i = 0; i < n; i++)
            values[i] =
                tree_sum(node.first_leaf, node.n_leaves, i, step, any_number);
        OK(f->net.backend.ops->put(&f->net.backend, &f->graph,
                                   f->step.partials[k], values));
    }
    free(values);
}

static void check_mean(struct step_fixture *f, int step)
{
    float *mean = net_fixture_get(&f->net, f->step.partials[0]);
    int replicas = f->step.replicas;
    for (size_t i = 0; i < f->graph.n_exchange; i++) {
        float sum = tree_sum(0, replicas, i, step, any_number);
        float expected = sum / (float)replicas;
        if (memcmp(&mean[i], &expected, sizeof expected) != 0)
            fail_msg("R = %d, step %d: [%zu] is %.9g, not %.9g", replicas, step,
                     i, mean[i], expected);
    }
    free(mean);
}

/* Enqueues the whole buffer in `pieces`: captured once, then replayed. */
static void enqueue_means(struct step_fixture *f, int pieces)
{
    const struct backend_ops *ops = f->net.backend.ops;
    struct exchange *x = &f->step.exchange;
    size_t n = f->graph.n_exchange;
    bool replayed;
    OK(ops->begin(f->net.net, pieces, &replayed));
    for (size_t k = 0; !replayed && k < (size_t)pieces; k++) {
        size_t first = n * k / (size_t)pieces;
        size_t end = n * (k + 1) / (size_t)pieces;
        OK(x->ops->enqueue_mean(
            x, (struct range){.first = first, .n = end - first}));
    }
    if (!replayed)
        OK(x->ops->wait_all(x));
    OK(ops->end(f->net.net));
}

static void check_means(const char *backend, int replicas)
{
    struct step_fixture f;
    step_fixture_open(&f, backend, replicas);
    OK(step_open_exchange(&f.step, "nccl", MB));
    for (int step = 0; step < 3; step++) {
        fill_partials(&f, step);
        enqueue_means(&f, 3);
        check_mean(&f, step);
    }
    step_fixture_close(&f);
}

static void means_have_the_bits_of_the_reduction_tree(void **state)
{
    (void)state;
    check_means("deferred", comm.size);
    check_means("deferred", comm.size + 1);
    check_means("deferred", 11);
    check_means("deferred-check", 7);
}

/* A rank that gives its partial sums and then pauses reads the same values as
 * the others, which meanwhile go on. */
static void a_slow_rank_gets_the_same_means(void **state)
{
    (void)state;
    struct step_fixture f;
    bool done;
    step_fixture_open(&f, "deferred", 7);
    OK(step_open_exchange(&f.step, "nccl", MB));
    for (int step = 0; step < 2 * comm.size; step++) {
        fill_partials(&f, step);
        enqueue_means(&f, 8);
        for (int k = 0; k < 8 && comm.rank == step % comm.size; k++) {
            OK(f.net.backend.ops->done(f.net.net, &done));
            usleep(5000);
        }
        check_mean(&f, step);
    }
    step_fixture_close(&f);
}

/* ---- training steps ---- */

static enum vd_err stage(void *ctx)
{
    struct step_fixture *f = ctx;
    const struct reduction_plan *plan = &f->step.plan;
    uint64_t step = f->n_staged / (uint64_t)plan->n_inputs;
    uint64_t replica = f->n_staged++ % (uint64_t)plan->n_inputs +
                       (uint64_t)reduction_first_replica(comm.rank, comm.size,
                                                         f->step.replicas);
    f->net.scalars.step = step + 1;
    for (int i = 0; i < BATCH; i++)
        f->net.items[i].position =
            (step * (uint64_t)f->step.replicas + replica) * BATCH + (uint64_t)i;
    net_fixture_stage(&f->net);
    return VD_OK;
}

static void collect(struct step_fixture *f)
{
    struct result *results =
        xcalloc((size_t)f->step.plan.n_inputs * BATCH, sizeof *results);
    struct update_result update;
    OK(step_collect(&f->step, results, BATCH, &update));
    assert_true(update.outcome == UPDATE_APPLIED && update.grad_norm > 0);
    free(results);
}

/* The weights after STEPS steps; the caller frees them. */
static float *train(const char *backend, const char *exchange, size_t bucket,
                    int replicas, int in_flight, size_t *n)
{
    struct step_fixture f;
    step_fixture_open(&f, backend, replicas);
    OK(step_open_exchange(&f.step, exchange, bucket));
    for (int launched = 0, collected = 0; collected < STEPS; collected++) {
        for (; launched < STEPS && launched - collected < in_flight; launched++)
            OK(step_launch(&f.step, stage, &f));
        collect(&f);
    }
    float *param = net_fixture_get(&f.net, &f.net.weights.param);
    *n = f.net.weights.param.n;
    step_fixture_close(&f);
    return param;
}

static void check_equal(const float *expected, size_t n, const char *backend,
                        const char *exchange, size_t bucket, int in_flight,
                        int replicas)
{
    size_t n_other;
    float *other =
        train(backend, exchange, bucket, replicas, in_flight, &n_other);
    assert_int_equal(n, n_other);
    if (memcmp(expected, other, n * sizeof *other) != 0)
        fail_msg("R = %d, %s, %s, buckets of %zu, %d in flight: other bits",
                 replicas, backend, exchange, bucket, in_flight);
    free(other);
}

static void training_has_the_bits_of_exchange_mpi(void **state)
{
    (void)state;
    const int counts[] = {comm.size, 2 * comm.size - 1};
    for (int i = 0; i < 2; i++) {
        int replicas = counts[i];
        size_t n;
        float *expected = train("ref", "mpi", MB, replicas, 1, &n);
        check_equal(expected, n, "deferred", "mpi", 3000, 2, replicas);
        check_equal(expected, n, "deferred", "nccl", MB, 2, replicas);
        check_equal(expected, n, "deferred", "nccl", 3000, 2, replicas);
        check_equal(expected, n, "deferred-check", "nccl", 3000, 2, replicas);
        free(expected);
    }
}

static void the_timed_exchange_waits_for_the_device(void **state)
{
    (void)state;
    struct step_fixture f;
    double seconds = 0;
    step_fixture_open(&f, "deferred", comm.size);
    OK(step_open_exchange(&f.step, "nccl", 3000));
    OK(step_launch(&f.step, stage, &f));
    collect(&f);
    assert_true(f.step.n_sent > 1);
    for (int i = 0; i < 3; i++) {
        OK(step_time_exchange(&f.step, &seconds));
        assert_true(seconds > 0);
    }
    OK(step_launch(&f.step, stage, &f));
    collect(&f);
    step_fixture_close(&f);
}

/* ---- which exchange is chosen ---- */

static void assert_auto_is(struct step_fixture *f, const char *expected,
                           struct check_log *log)
{
    check_log_start(log);
    OK(step_open_exchange(&f->step, "auto", MB));
    check_log_end();
    assert_string_equal(f->step.exchange.ops->name, expected);
}

static void auto_is_nccl_if_the_backend_has_a_collective(void **state)
{
    (void)state;
    struct step_fixture f;
    struct check_log log;
    step_fixture_open(&f, "deferred", comm.size);
    assert_auto_is(&f, comm.size > 1 ? "nccl" : "none", &log);
    assert_string_equal(log.text, "");
    step_fixture_close(&f);
}

static const char *missing_library(void)
{
    return "libexample is missing";
}

/* On the last rank only. */
static void auto_is_mpi_with_a_warning_if_a_rank_lacks_the_library(void **state)
{
    (void)state;
    struct step_fixture f;
    struct check_log log;
    step_fixture_open(&f, "deferred", comm.size);
    struct collective_ops ops = *f.net.backend.collective;
    bool is_last = comm.rank == comm.size - 1;
    ops.unavailable = missing_library;
    if (is_last)
        f.net.backend.collective = &ops;
    assert_auto_is(&f, comm.size > 1 ? "mpi" : "none", &log);
    if (is_last && comm.size > 1)
        assert_logged(&log, "exchange auto: mpi, which is slower than nccl: "
                            "backend deferred: libexample is missing");
    else
        assert_string_equal(log.text, "");
    step_fixture_close(&f);
}

static void
auto_is_mpi_without_a_warning_if_no_rank_has_a_collective(void **state)
{
    (void)state;
    struct step_fixture f;
    struct check_log log;
    step_fixture_open(&f, "deferred", comm.size);
    f.net.backend.collective = NULL;
    assert_auto_is(&f, comm.size > 1 ? "mpi" : "none", &log);
    assert_string_equal(log.text, "");
    step_fixture_close(&f);
}

static void nccl_is_refused_if_a_rank_has_no_collective(void **state)
{
    (void)state;
    struct step_fixture f;
    struct check_log log;
    step_fixture_open(&f, "deferred", comm.size);
    if (comm.rank == comm.size - 1)
        f.net.backend.collective = NULL;
    check_log_start(&log);
    assert_int_equal(step_open_exchange(&f.step, "nccl", MB), VD_UNSUPPORTED);
    check_log_end();
    assert_int_equal(comm.agreed_err, VD_UNSUPPORTED);
    if (comm.rank == comm.size - 1) {
        assert_logged(&log, "exchange.name nccl: backend deferred: the backend "
                            "has no collective");
        assert_logged(&log, "--exchange.name auto");
    }
    step_fixture_close(&f);
}

/* ---- failures ---- */

/* Rank 0 leaves instead of launching a step: the others do not wait for the
 * time limit. */
static void a_rank_that_leaves_ends_the_wait_of_the_others(void **state)
{
    (void)state;
    struct step_fixture f;
    struct check_log log;
    struct result results[BATCH];
    struct update_result update;
    if (comm.size == 1)
        skip();
    step_fixture_open(&f, "deferred", comm.size);
    OK(step_open_exchange(&f.step, "nccl", MB));
    if (comm.rank == 0) {
        exchange_close(&f.step.exchange);
    } else {
        OK(step_launch(&f.step, stage, &f));
        check_log_start(&log);
        assert_int_equal(step_collect(&f.step, results, BATCH, &update),
                         VD_COMM);
        check_log_end();
        assert_logged(&log, "rank 0 has ended");
    }
    step_fixture_close(&f);
}

static enum vd_err no_id(struct backend *b, struct collective_id *id)
{
    (void)b;
    (void)id;
    return VD_FAIL(VD_COMM, "no id\ntry again");
}

static enum vd_err no_open(const struct collective_spec *spec,
                           struct collective **out)
{
    (void)spec;
    (void)out;
    return VD_FAIL(VD_COMM, "no communicator\ntry again");
}

/* make_id fails on rank 0, then open on the last rank: no rank waits for it. */
static void an_error_while_opening_is_agreed(void **state)
{
    (void)state;
    struct step_fixture f;
    step_fixture_open(&f, "deferred", comm.size);
    struct collective_ops ops = *f.net.backend.collective, id = ops;
    id.make_id = no_id;
    log_set_sink(log_discard, NULL);
    f.net.backend.collective = &id;
    assert_int_equal(step_open_exchange(&f.step, "nccl", MB), VD_COMM);
    assert_int_equal(comm.agreed_err, VD_COMM);
    comm.agreed_err = VD_OK;
    f.net.backend.collective = &ops;
    if (comm.rank == comm.size - 1)
        ops.open = no_open;
    assert_int_equal(step_open_exchange(&f.step, "nccl", MB), VD_COMM);
    log_set_sink(NULL, NULL);
    assert_int_equal(comm.agreed_err, VD_COMM);
    step_fixture_close(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(means_have_the_bits_of_the_reduction_tree),
    cmocka_unit_test(a_slow_rank_gets_the_same_means),
    cmocka_unit_test(training_has_the_bits_of_exchange_mpi),
    cmocka_unit_test(the_timed_exchange_waits_for_the_device),
    cmocka_unit_test(auto_is_nccl_if_the_backend_has_a_collective),
    cmocka_unit_test(auto_is_mpi_with_a_warning_if_a_rank_lacks_the_library),
    cmocka_unit_test(auto_is_mpi_without_a_warning_if_no_rank_has_a_collective),
    cmocka_unit_test(nccl_is_refused_if_a_rank_has_no_collective),
    cmocka_unit_test(a_rank_that_leaves_ends_the_wait_of_the_others),
    cmocka_unit_test(an_error_while_opening_is_agreed),
};

MPI_CHECK_MAIN(tests)
