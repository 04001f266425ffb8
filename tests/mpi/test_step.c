/* A step on several ranks: what runs when. */
#include "mpi_check.h"

#include "base/mem.h"
#include "model/init.h"
#include "model/resnet.h"
#include "train/step.h"

#define BATCH 2
#define SIZE  64
#define STEPS 3

#define OK(call) assert_int_equal((call), VD_OK)

/* Two replicas a rank of a network whose head and last stage fill buckets. */
struct rig {
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
    struct rig *r = ctx;
    struct slot slots[BATCH];
    const uint8_t *pixels[BATCH];
    for (int i = 0; i < BATCH; i++) {
        slots[i] = (struct slot){.position = r->n_staged++,
                                 .box = {8, 8, 40, 40},
                                 .warp = {1, 0, 0, 0, 1, 0},
                                 .color = {1, 1, 1, 0},
                                 .order = {0, 1, 2, 3}};
        pixels[i] = r->pixels;
    }
    struct batch batch = {slots, pixels, {.step = 1, .lr = 1e-3}};
    return r->backend.ops->stage(r->net, &batch);
}

static void build_net(struct rig *r)
{
    struct net_spec spec = {
        .graph = &r->graph,
        .weights = &r->weights,
        .micro_batch = BATCH,
        .mode = NET_TRAIN,
        .threads = 1,
        .optim = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
        .std = {1, 1, 1}};
    float *param = mem_new(r->graph.n_params, sizeof *param);
    float *stats = mem_new(r->graph.n_stats, sizeof *stats);
    init_all(&r->graph, 1, param, stats);
    OK(weights_alloc(&r->backend, &r->graph, &r->weights));
    OK(r->backend.ops->put(&r->backend, &r->graph, &r->weights.param, param));
    OK(r->backend.ops->put(&r->backend, &r->graph, &r->weights.stats, stats));
    r->weights.version++;
    OK(r->backend.ops->net_new(&r->backend, &spec, &r->net));
    free(param);
    free(stats);
}

static void rig_open(struct rig *r, const char *backend)
{
    struct backend_config config = {.tune = "off"};
    struct resnet_spec resnet = {
        .size = SIZE,
        .width = 64,
        .blocks = {1, 1, 1, 1},
        .loss = {.classes = 3, .box_scale = 1, .class_scale = 25}};
    *r = (struct rig){.pixels = mem_new(SIZE * SIZE, 3)};
    for (int i = 0; i < SIZE * SIZE * 3; i++)
        r->pixels[i] = (uint8_t)(i * 37 % 251);
    OK(backend_open(&r->backend, backend, &config));
    resnet_build(&r->graph, &resnet);
    build_net(r);
    OK(step_init(&r->step, &comm, &r->backend, r->net, &r->graph,
                 2 * comm.size));
    OK(step_connect(&r->step, "mpi"));
}

static void rig_close(struct rig *r)
{
    step_close(&r->step);
    r->backend.ops->net_free(r->net);
    weights_free(&r->backend, &r->weights);
    backend_close(&r->backend);
    graph_clear(&r->graph);
    free(r->pixels);
}

/* Phases are of all replicas; what is left is staging and bookkeeping. */
static void assert_parts_are_the_whole(const struct step_times *t)
{
    double total = t->end - t->begin;
    double parts = t->forward_s + t->backward_s + t->exchange_s + t->update_s;
    assert_true(parts <= total && parts > 0.6 * total);
    assert_true(t->backward_s > t->backward_end - t->last_backward);
}

/* Gradients leave while backward still computes: the first ones, the head's,
 * in its first half. */
static void the_exchange_runs_beside_backward(void **state)
{
    (void)state;
    struct rig r;
    struct result results[2 * BATCH];
    struct update_result update;
    rig_open(&r, "auto");
    for (int i = 0; i < STEPS; i++) {
        OK(step_run(&r.step, stage, &r, results, BATCH, &update));
        const struct step_times *t = &r.step.times;
        assert_true(update.finite);
        assert_true(t->begin < t->last_backward);
        assert_true(t->last_backward < t->first_exchange);
        assert_true(t->first_exchange < t->backward_end);
        assert_true(t->exchange_s > 0 && t->update_s > 0);
        assert_parts_are_the_whole(t);
        double backward = t->backward_end - t->last_backward;
        assert_true(t->first_exchange - t->last_backward < backward / 2);
        if (comm.rank == 0)
            print_message("backward %.1f ms, exposed exchange %.1f ms\n",
                          1e3 * backward, 1e3 * t->exchange_s);
    }
    rig_close(&r);
}

/* All of the buffer once, as a step sends it; and steps go on after it. */
static void the_exchange_alone_is_that_of_a_step(void **state)
{
    (void)state;
    struct rig r;
    struct result results[2 * BATCH];
    struct update_result update;
    double seconds = 0;
    size_t sent = 0;
    rig_open(&r, "auto");
    OK(step_run(&r.step, stage, &r, results, BATCH, &update));
    for (int i = 0; i < r.step.n_sent; i++)
        sent += r.step.sent[i].n;
    assert_int_equal(sent, r.graph.n_exchange);
    assert_true(r.step.n_sent > 1);
    assert_true(r.step.sent[0].first == r.graph.n_trainable);
    OK(step_time_exchange(&r.step, &seconds));
    assert_true(seconds > 0);
    OK(step_run(&r.step, stage, &r, results, BATCH, &update));
    assert_true(update.finite && update.grad_norm > 0);
    rig_close(&r);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_exchange_alone_is_that_of_a_step),
    cmocka_unit_test(the_exchange_runs_beside_backward),
};

MPI_CHECK_MAIN(tests)
