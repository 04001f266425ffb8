/*
 * Exchange: the mean over replicas has the bits of the reduction tree, for any
 * number of ranks, replicas and elements.
 */
#include "mpi_check.h"
#include "tree_sum.h"

#include "base/alloc.h"
#include "exchange/exchange.h"

#include <unistd.h>

#define MAX_REPLICAS 12
#define OK(call)     assert_int_equal((call), VD_OK)

/* One exchange of n elements with this rank's buffers. */
struct exchange_fixture {
    struct backend backend;
    struct graph graph;
    struct reduction_plan plan;
    struct buf buffers[MAX_REPLICAS];
    struct buf *partials[MAX_REPLICAS];
    struct exchange x;
    int replicas;
    size_t n;
};

static void exchange_fixture_open(struct exchange_fixture *f,
                                  const char *backend, const char *exchange,
                                  int replicas, size_t n)
{
    struct backend_config config = {.plugin_dir = PLUGIN_DIR};
    *f = (struct exchange_fixture){
        .graph = {.n_exchange = n}, .replicas = replicas, .n = n};
    OK(backend_open(&f->backend, backend, &config));
    reduction_plan_init_rank(&f->plan, comm.rank, comm.size, replicas);
    for (int i = 0; i < f->plan.n_buffers; i++)
        OK(f->backend.ops->alloc(&f->backend, &f->graph, BUF_EXCHANGE,
                                 &f->buffers[i]));
    for (int i = 0; i < f->plan.n_partials; i++)
        f->partials[i] = &f->buffers[f->plan.partial_buffer[i]];
    struct exchange_spec spec = {.comm = &comm,
                                 .backend = &f->backend,
                                 .graph = &f->graph,
                                 .replicas = replicas,
                                 .plan = &f->plan,
                                 .partials = f->partials};
    OK(exchange_open(&f->x, exchange, &spec));
}

static void exchange_fixture_close(struct exchange_fixture *f)
{
    exchange_close(&f->x);
    for (int i = 0; i < f->plan.n_buffers; i++)
        f->backend.ops->free(&f->backend, &f->buffers[i]);
    reduction_plan_clear(&f->plan);
    backend_close(&f->backend);
}

/* Fills this rank's partial sums, as a step does. */
static void exchange_fixture_fill(struct exchange_fixture *f, int step,
                                  value_fn *value)
{
    float *values = xcalloc(f->n + 1, sizeof *values);
    for (int k = 0; k < f->plan.n_partials; k++) {
        struct reduction_node node = f->plan.partials[k];
        for (size_t i = 0; i < f->n; i++)
            values[i] =
                tree_sum(node.first_leaf, node.n_leaves, i, step, value);
        OK(f->backend.ops->put(&f->backend, &f->graph, f->partials[k], values));
    }
    free(values);
}

static void exchange_fixture_check(struct exchange_fixture *f, int step,
                                   value_fn *value)
{
    float *mean = xcalloc(f->n + 1, sizeof *mean);
    OK(f->backend.ops->get(&f->backend, &f->graph, mean, f->partials[0]));
    for (size_t i = 0; i < f->n; i++) {
        float sum = tree_sum(0, f->replicas, i, step, value);
        float expected = sum / (float)f->replicas;
        if (memcmp(&mean[i], &expected, sizeof expected) != 0)
            fail_msg("R = %d, n = %zu, step %d: [%zu] is %.9g, not %.9g",
                     f->replicas, f->n, step, i, mean[i], expected);
    }
    free(mean);
}

/* Enqueues ranges in the order of `ready`: the tail, then `pieces` from 0. */
static void exchange_fixture_run(struct exchange_fixture *f, size_t pieces)
{
    const struct exchange_ops *ops = f->x.ops;
    size_t tail = f->n / 8, body = f->n - tail;
    OK(ops->enqueue_mean(&f->x, (struct range){.first = body, .n = tail}));
    for (size_t k = 0; k < pieces; k++) {
        size_t first = body * k / pieces, end = body * (k + 1) / pieces;
        OK(ops->enqueue_mean(&f->x,
                             (struct range){.first = first, .n = end - first}));
        OK(ops->test(&f->x));
    }
    OK(ops->wait_all(&f->x));
}

static void check_steps(const char *backend, int replicas, size_t n,
                        size_t pieces, value_fn *value)
{
    struct exchange_fixture f;
    exchange_fixture_open(&f, backend, "mpi", replicas, n);
    for (int step = 0; step < 3; step++) {
        exchange_fixture_fill(&f, step, value);
        exchange_fixture_run(&f, pieces);
        exchange_fixture_check(&f, step, value);
    }
    exchange_fixture_close(&f);
}

/* Elements: 0, 1, fewer than ranks, primes. */
static const size_t sizes[] = {0, 1, 2, 7, 13, 1009};

static void on_all_sizes(const char *backend, value_fn *value)
{
    for (int replicas = comm.size; replicas <= MAX_REPLICAS; replicas++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            check_steps(backend, replicas, sizes[k], 3, value);
}

static void whole_numbers_are_exact(void **state)
{
    (void)state;
    on_all_sizes("ref", whole_number);
}

static void bits_follow_the_reduction_tree(void **state)
{
    (void)state;
    on_all_sizes("ref", any_number);
}

static void device_memory_is_copied(void **state)
{
    (void)state;
    on_all_sizes("deferred", any_number);
}

static void more_ranges_than_can_be_in_flight(void **state)
{
    (void)state;
    check_steps("ref", comm.size, 4999, 40, any_number);
    check_steps("ref", MAX_REPLICAS, 4999, 61, any_number);
}

/* Messages above the eager limit of MPI, which sends them only after the
 * receive was posted. */
static void large_messages_complete(void **state)
{
    (void)state;
    check_steps("ref", comm.size, 400009, 3, whole_number);
}

static void ranks_may_be_out_of_step(void **state)
{
    (void)state;
    struct exchange_fixture f;
    exchange_fixture_open(&f, "ref", "mpi", MAX_REPLICAS, 30011);
    for (int step = 0; step < 6; step++) {
        exchange_fixture_fill(&f, step, any_number);
        if (comm.rank == step % comm.size)
            usleep(20000);
        exchange_fixture_run(&f, 21);
        exchange_fixture_check(&f, step, any_number);
    }
    exchange_fixture_close(&f);
}

static void wait_all_without_a_range_does_nothing(void **state)
{
    (void)state;
    struct exchange_fixture f;
    exchange_fixture_open(&f, "ref", "mpi", comm.size, 5);
    OK(f.x.ops->wait_all(&f.x));
    OK(f.x.ops->test(&f.x));
    exchange_fixture_close(&f);
}

static void auto_is_mpi_on_several_ranks(void **state)
{
    (void)state;
    struct exchange_fixture f;
    exchange_fixture_open(&f, "ref", "auto", comm.size, 5);
    assert_string_equal(f.x.ops->name, comm.size > 1 ? "mpi" : "none");
    exchange_fixture_close(&f);
}

static void none_divides_on_the_device(void **state)
{
    (void)state;
    struct exchange_fixture f;
    if (comm.size > 1)
        skip();
    exchange_fixture_open(&f, "ref", "none", MAX_REPLICAS, 1009);
    exchange_fixture_fill(&f, 0, any_number);
    exchange_fixture_run(&f, 5);
    exchange_fixture_check(&f, 0, any_number);
    exchange_fixture_close(&f);
}

static void none_refuses_several_ranks(void **state)
{
    (void)state;
    struct exchange x;
    struct exchange_spec spec = {.comm = &comm, .replicas = comm.size};
    struct check_log log;
    if (comm.size == 1)
        skip();
    check_log_start(&log);
    assert_int_equal(exchange_open(&x, "none", &spec), VD_CONFIG);
    check_log_end();
    if (comm.rank == 0)
        assert_logged(&log, "ranks would not average");
    else
        assert_string_equal(log.text, "");
    exchange_close(&x);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(whole_numbers_are_exact),
    cmocka_unit_test(bits_follow_the_reduction_tree),
    cmocka_unit_test(device_memory_is_copied),
    cmocka_unit_test(more_ranges_than_can_be_in_flight),
    cmocka_unit_test(large_messages_complete),
    cmocka_unit_test(ranks_may_be_out_of_step),
    cmocka_unit_test(wait_all_without_a_range_does_nothing),
    cmocka_unit_test(auto_is_mpi_on_several_ranks),
    cmocka_unit_test(none_divides_on_the_device),
    cmocka_unit_test(none_refuses_several_ranks),
};

MPI_CHECK_MAIN(tests)
