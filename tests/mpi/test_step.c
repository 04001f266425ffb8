/*
 * Timing of a step on several ranks: the exchange overlaps backward, the phases
 * add up to the step, and step_time_exchange() repeats the exchange of a step.
 * Only the order of times and their ratios are checked, not durations.
 */
#include "mpi_check.h"

#include "base/alloc.h"
#include "model/init.h"
#include "model/resnet.h"
#include "train/step.h"

#define BATCH 2
#define SIZE  64
#define STEPS 3

#define OK(call) assert_int_equal((call), VD_OK)

/* Two replicas per rank of a network whose head and last stage fill buckets. */
struct step_fixture {
    struct backend backend;
    struct graph graph;
    struct weights weights;
    struct net *net;
    struct step step;
    uint8_t *pixels; /* [SIZE, SIZE, 3] */
    uint64_t n_staged;
};

static enum vd_err stage(void *ctx)
{
    struct step_fixture *f = ctx;
    struct batch_item items[BATCH];
    const uint8_t *pixels[BATCH];
    for (int i = 0; i < BATCH; i++) {
        items[i] = (struct batch_item){.position = f->n_staged++,
                                       .box = {8, 8, 40, 40},
                                       .warp = {1, 0, 0, 0, 1, 0},
                                       .color = {1, 1, 1, 0},
                                       .order = {0, 1, 2, 3}};
        pixels[i] = f->pixels;
    }
    struct batch batch = {items, pixels, {.step = 1, .lr = 1e-3}};
    return f->backend.ops->stage(f->net, &batch);
}

static void build_net(struct step_fixture *f)
{
    struct net_spec spec = {
        .graph = &f->graph,
        .weights = &f->weights,
        .micro_batch = BATCH,
        .mode = NET_TRAIN,
        .threads = 1,
        .max_unread = 2,
        .optim = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
        .std = {1, 1, 1}};
    float *param = xcalloc(f->graph.n_params, sizeof *param);
    float *stats = xcalloc(f->graph.n_stats, sizeof *stats);
    init_all(&f->graph, 1, param, stats);
    OK(weights_alloc(&f->backend, &f->graph, &f->weights));
    OK(f->backend.ops->put(&f->backend, &f->graph, &f->weights.param, param));
    OK(f->backend.ops->put(&f->backend, &f->graph, &f->weights.stats, stats));
    f->weights.version++;
    OK(f->backend.ops->net_new(&f->backend, &spec, &f->net));
    free(param);
    free(stats);
}

static void step_fixture_open(struct step_fixture *f, const char *backend)
{
    struct backend_config config = {.local_rank = 0};
    struct resnet_spec resnet = {
        .size = SIZE,
        .width = 64,
        .blocks = {1, 1, 1, 1},
        .loss = {.classes = 3, .box_scale = 1, .class_scale = 25}};
    *f = (struct step_fixture){.pixels = xcalloc(SIZE * SIZE, 3)};
    for (int i = 0; i < SIZE * SIZE * 3; i++)
        f->pixels[i] = (uint8_t)(i * 37 % 251);
    OK(backend_open(&f->backend, backend, &config));
    resnet_build(&f->graph, &resnet);
    build_net(f);
    OK(step_init(&f->step, &comm, &f->backend, f->net, &f->graph,
                 2 * comm.size));
    OK(step_open_exchange(&f->step, "mpi", (size_t)1 << 20));
}

static void step_fixture_close(struct step_fixture *f)
{
    step_close(&f->step);
    f->backend.ops->net_free(f->net);
    weights_free(&f->backend, &f->weights);
    backend_close(&f->backend);
    graph_clear(&f->graph);
    free(f->pixels);
}

static void run_step(struct step_fixture *f, struct result *results,
                     struct update_result *update)
{
    OK(step_launch(&f->step, stage, f));
    OK(step_collect(&f->step, results, BATCH, update));
}

/* The phases include all replicas; the rest of the time is staging. */
static void assert_phases_add_up(const struct step_times *t)
{
    double total = t->end - t->begin;
    double parts = t->forward_s + t->backward_s + t->exchange_s + t->update_s;
    assert_true(parts <= total && parts > 0.6 * total);
    assert_true(t->backward_s > t->backward_end - t->last_backward);
}

/* The exchange starts during backward: the first gradients, those of the head,
 * are sent in the first half of it. */
static void the_exchange_overlaps_backward(void **state)
{
    (void)state;
    struct step_fixture f;
    struct result results[2 * BATCH];
    struct update_result update;
    step_fixture_open(&f, "auto");
    for (int i = 0; i < STEPS; i++) {
        run_step(&f, results, &update);
        const struct step_times *t = &f.step.times;
        assert_int_equal(update.outcome, UPDATE_APPLIED);
        assert_true(t->begin < t->last_backward);
        assert_true(t->last_backward < t->first_exchange);
        assert_true(t->first_exchange < t->backward_end);
        assert_true(t->exchange_s > 0 && t->update_s > 0);
        assert_phases_add_up(t);
        double backward = t->backward_end - t->last_backward;
        assert_true(t->first_exchange - t->last_backward < backward / 2);
        if (comm.rank == 0)
            print_message("backward %.1f ms, exposed exchange %.1f ms\n",
                          1e3 * backward, 1e3 * t->exchange_s);
    }
    step_fixture_close(&f);
}

/* step_time_exchange() sends the whole buffer once, in the ranges of a step;
 * the next step is correct. */
static void the_timed_exchange_has_the_ranges_of_a_step(void **state)
{
    (void)state;
    struct step_fixture f;
    struct result results[2 * BATCH];
    struct update_result update;
    double seconds = 0;
    size_t sent = 0;
    step_fixture_open(&f, "auto");
    run_step(&f, results, &update);
    for (int i = 0; i < f.step.n_sent; i++)
        sent += f.step.sent[i].n;
    assert_int_equal(sent, f.graph.n_exchange);
    assert_true(f.step.n_sent > 1);
    assert_true(f.step.sent[0].first == f.graph.n_trainable);
    OK(step_time_exchange(&f.step, &seconds));
    assert_true(seconds > 0);
    run_step(&f, results, &update);
    assert_true(update.outcome == UPDATE_APPLIED && update.grad_norm > 0);
    step_fixture_close(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_timed_exchange_has_the_ranges_of_a_step),
    cmocka_unit_test(the_exchange_overlaps_backward),
};

MPI_CHECK_MAIN(tests)
