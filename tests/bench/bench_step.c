/*
 * Times whole steps of one backend on the full network, on made-up pictures:
 *
 *     bench_step BACKEND BATCH THREADS STEPS [train|frozen|eval]
 *
 * prints the median and the least time of a step in ms, its parts, and
 * pictures per second; and the same from processor time, which on a shared
 * machine says more (with OMP_WAIT_POLICY=passive). Staging is timed apart: in
 * a run it has its own thread.
 */
#include "backend/backend.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/init.h"
#include "model/resnet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SIZE 224
#define MUST(call)           \
    do {                     \
        if ((call) != VD_OK) \
            exit(1);         \
    } while (0)

struct bench {
    struct backend backend;
    struct graph graph;
    struct weights weights;
    struct buf exchange;
    struct net *net;
    struct slot *slots;
    const uint8_t **pixels;
    struct result *results;
    int batch, steps;
    bool train;
    double *ms[4];  /* [steps]: stage, forward, backward, update */
    double *cpu_ms; /* [steps]: processor time of the last three */
};

static enum vd_err ignore(void *ctx, struct range range)
{
    (void)ctx;
    (void)range;
    return VD_OK;
}

static void fill(struct bench *b)
{
    size_t bytes = (size_t)SIZE * SIZE * 3;
    uint8_t *all = mem_new((size_t)b->batch, bytes);
    float *params = mem_new(b->graph.n_params, sizeof *params);
    float *stats = mem_new(b->graph.n_stats, sizeof *stats);
    for (size_t i = 0; i < (size_t)b->batch * bytes; i++)
        all[i] = (uint8_t)((i * 2654435761U) >> 24);
    b->slots = mem_new((size_t)b->batch, sizeof *b->slots);
    b->pixels = mem_new((size_t)b->batch, sizeof *b->pixels);
    b->results = mem_new((size_t)b->batch, sizeof *b->results);
    for (int i = 0; i < b->batch; i++) {
        b->pixels[i] = all + (size_t)i * bytes;
        b->slots[i] = (struct slot){.position = (uint64_t)i,
                                    .class = i % 20,
                                    .box = {10, 20, 100, 120},
                                    .warp = {0.99F, 0.05F, 1, -0.05F, 0.99F, 2},
                                    .color = {1.05F, 0.95F, 1.05F, 0.03F},
                                    .order = {0, 1, 2, 3}};
    }
    init_all(&b->graph, 1, params, stats);
    MUST(
        b->backend.ops->put(&b->backend, &b->graph, &b->weights.param, params));
    MUST(b->backend.ops->put(&b->backend, &b->graph, &b->weights.stats, stats));
    b->weights.version++;
    free(params);
    free(stats);
}

static double lap(double *since)
{
    double now = clock_now(), ms = (now - *since) * 1e3;
    *since = now;
    return ms;
}

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void step(struct bench *b, int i)
{
    const struct backend_ops *ops = b->backend.ops;
    struct batch batch = {
        b->slots, b->pixels, {1, (uint64_t)i + 1, 1e-4, 1e-4}};
    int k = i < 0 ? 0 : i;
    bool replayed;
    double t = clock_now();
    batch.knobs.step = (uint64_t)k + 1;
    MUST(ops->stage(b->net, &batch));
    b->ms[0][k] = lap(&t);
    double cpu = cpu_now();
    MUST(ops->begin(b->net, 0, &replayed));
    MUST(ops->forward(b->net));
    b->ms[1][k] = lap(&t);
    if (b->train) {
        MUST(ops->backward(b->net, &b->exchange, ignore, NULL));
        b->ms[2][k] = lap(&t);
        MUST(ops->update(b->net, &b->exchange));
        b->ms[3][k] = lap(&t);
    }
    MUST(ops->end(b->net));
    b->cpu_ms[k] = cpu_now() - cpu;
    MUST(ops->results(b->net, b->results));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

static void report(struct bench *b, const char *mode, int threads)
{
    struct rusage usage;
    double *sum = mem_new((size_t)b->steps, sizeof *sum);
    for (int i = 0; i < b->steps; i++)
        sum[i] = b->ms[1][i] + b->ms[2][i] + b->ms[3][i];
    double middle = median(sum, b->steps), cpu = median(b->cpu_ms, b->steps);
    getrusage(RUSAGE_SELF, &usage);
    printf("%s (%s) batch %d threads %d %s: median %.1f ms least %.1f "
           "(forward %.1f backward %.1f update %.1f) %.2f pictures/s; "
           "processor %.1f ms, %.2f pictures/s; stage %.1f ms, %ld MB, "
           "l1 %.3f\n",
           b->backend.ops->name, b->backend.ops->describe(&b->backend),
           b->batch, threads, mode, middle, sum[0], median(b->ms[1], b->steps),
           median(b->ms[2], b->steps), median(b->ms[3], b->steps),
           b->batch * 1e3 / middle, cpu, b->batch * 1e3 / cpu,
           median(b->ms[0], b->steps), usage.ru_maxrss / 1024,
           (double)b->results[0].l1);
    free(sum);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 64;
    const char *mode = argc > 5 ? argv[5] : "train";
    struct bench b = {.batch = atoi(argv[2]), .steps = atoi(argv[4])};
    struct resnet_spec spec = {
        .size = SIZE,
        .width = 64,
        .blocks = {3, 4, 6, 3},
        .head_dropout = 0.5,
        .freeze = strcmp(mode, "frozen") == 0 ? RESNET_FREEZE_BACKBONE
                                              : RESNET_FREEZE_NONE,
        .loss = {.classes = 20, .box_scale = 1, .class_scale = 25}};
    struct backend_config config = {.tune = "off"};
    b.train = strcmp(mode, "eval") != 0;
    resnet_build(&b.graph, &spec);
    MUST(backend_open(&b.backend, argv[1], &config));
    MUST(weights_alloc(&b.backend, &b.graph, &b.weights));
    MUST(b.backend.ops->alloc(&b.backend, &b.graph, BUF_EXCHANGE, &b.exchange));
    struct net_spec net = {.graph = &b.graph,
                           .weights = &b.weights,
                           .micro_batch = b.batch,
                           .mode = b.train ? NET_TRAIN : NET_EVAL,
                           .threads = atoi(argv[3]),
                           .optim = {OPTIM_ADAM, 0.9, 0.999, 1e-8, 0, 0, 0},
                           .std = {1, 1, 1}};
    for (int i = 0; i < 4; i++)
        b.ms[i] = mem_new((size_t)b.steps, sizeof(double));
    b.cpu_ms = mem_new((size_t)b.steps, sizeof(double));
    MUST(b.backend.ops->net_new(&b.backend, &net, &b.net));
    fill(&b);
    step(&b, -1);
    for (int i = 0; i < b.steps; i++)
        step(&b, i);
    report(&b, mode, net.threads);
    return 0;
}
