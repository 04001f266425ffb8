/*
 * Opens the parts of a training step and runs steps.
 *
 * A step: prefetch stages one micro-batch for each of this rank's replicas;
 * step_launch() computes forward and backward of each, averages the gradients
 * over all ranks during the last backward pass, and updates the weights.
 * Whether the step is finite follows from the averaged gradient, so all ranks
 * agree without communication. The weights do not change in a step that is not
 * finite. Steps are launched ahead up to the depth of the backend: all ranks
 * launch the same steps, because that depends on counters and `until` only.
 */
#include "train/engine.h"

#include "backend/reduction_tree.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "model/graph_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void engine_init(struct engine *e, struct comm *comm,
                 const struct config *config, const struct shard_set *data)
{
    *e = (struct engine){.comm = comm, .config = config, .data = data};
}

/* ---- graph and device ---- */

/* loss.weights balanced: n_images / (n_classes x images of the class). */
static void balance_classes(struct engine *e)
{
    const struct shard_set *data = e->data;
    size_t classes = (size_t)data->n_classes;
    int64_t *counts = xcalloc(classes, sizeof *counts);
    double *weights = xcalloc(classes, sizeof *weights);
    for (size_t i = 0; i < data->n_images; i++)
        counts[data->class[i]]++;
    for (size_t k = 0; k < classes; k++)
        weights[k] = counts[k] ? (double)data->n_images /
                                     ((double)classes * (double)counts[k])
                               : 1;
    e->graph.loss.class_weights = weights;
    free(counts);
}

enum vd_err engine_build_graph(struct engine *e)
{
    VD_TRY(graph_from_config(e->config, e->data->n_classes, e->data->width,
                             &e->graph));
    if (e->config->loss.weights == LOSS_WEIGHTS_BALANCED)
        balance_classes(e);
    return VD_OK;
}

enum vd_err engine_open_device(struct engine *e)
{
    const struct config *c = e->config;
    struct backend_config config = {
        .local_rank = e->comm->node_rank,
        .plugin_dir = c->backend_dir,
        .precision = (enum backend_precision)c->train.precision};
    return backend_open(&e->backend, config_backend_name(c), &config);
}

void engine_describe_device(struct engine *e, char *out, size_t size)
{
    struct backend *b = &e->backend;
    snprintf(out, size, "%s (%s)", b->ops->name, b->ops->describe(b));
}

/* The device of one rank, as the others see it. */
#define DEVICE_ID_MAX 64
struct rank_device {
    char kind[ENGINE_DEVICE_MAX]; /* engine_describe_device() */
    char id[DEVICE_ID_MAX];       /* "": ranks may share it */
};

/* Rank 0 reports for all. */
static enum vd_err check_device_kinds(const struct comm *c,
                                      const struct rank_device *all)
{
    int odd = 0;
    while (odd < c->size && !strcmp(all[odd].kind, all[0].kind))
        odd++;
    if (odd == c->size)
        return VD_OK;
    if (c->rank == 0)
        log_error("rank 0 (%s) computes on %s, but rank %d (%s) on %s\n"
                  "use machines of one kind, or limit every rank to the "
                  "instruction set of the oldest machine: "
                  "ONEDNN_MAX_CPU_ISA=AVX2 (or AVX512_CORE)",
                  c->hosts[0], all[0].kind, odd, c->hosts[odd], all[odd].kind);
    return VD_CONFIG;
}

static bool share_device(const struct rank_device *all, int a, int b)
{
    return *all[a].id && !strcmp(all[a].id, all[b].id);
}

static enum vd_err check_shared_devices(const struct comm *c,
                                        const struct rank_device *all)
{
    for (int b = 1; b < c->size; b++) {
        int a = 0;
        while (a < b && !share_device(all, a, b))
            a++;
        if (a == b)
            continue;
        if (c->rank == 0)
            log_error("ranks %d and %d (%s, %s) compute on the same device, "
                      "%s\n"
                      "start one rank per device: fewer ranks per node, or "
                      "another device in CUDA_VISIBLE_DEVICES for each rank",
                      a, b, c->hosts[a], c->hosts[b], all[a].id);
        return VD_CONFIG;
    }
    return VD_OK;
}

enum vd_err engine_compare_devices(struct engine *e)
{
    struct rank_device mine = {.kind = ""};
    struct rank_device *all = xcalloc((size_t)e->comm->size, sizeof *all);
    const char *id = e->backend.ops->device_id(&e->backend);
    engine_describe_device(e, mine.kind, sizeof mine.kind);
    VD_ASSERT(!id || strlen(id) < sizeof mine.id);
    snprintf(mine.id, sizeof mine.id, "%s", id ? id : "");
    enum vd_err err =
        comm_allgather(e->comm, SITE_DEVICE, &mine, sizeof mine, all);
    if (err == VD_OK) {
        err = check_device_kinds(e->comm, all);
        if (err == VD_OK)
            err = check_shared_devices(e->comm, all);
        if (err != VD_OK) /* on all ranks */
            err = comm_agree(e->comm, SITE_DEVICE, err);
    }
    free(all);
    return err;
}

/* ---- network ---- */

static struct optim optim_from_config(const struct config *c)
{
    return (struct optim){.rule = (enum optim_rule)c->optim.name,
                          .beta1 = c->optim.beta1,
                          .beta2 = c->optim.beta2,
                          .eps = c->optim.eps,
                          .weight_decay = c->optim.weight_decay,
                          .momentum = c->optim.momentum,
                          .clip_norm = c->optim.clip_norm};
}

static bool is_fp16(const struct engine *e)
{
    return e->config->train.precision == PRECISION_FP16;
}

static struct loss_scaling loss_scaling_of(const struct engine *e)
{
    if (!is_fp16(e))
        return (struct loss_scaling){0};
    return (struct loss_scaling){
        .growth_steps = (int)e->config->optim.loss_scale_steps,
        .max_skipped = ENGINE_MAX_NON_FINITE_IN_ROW - 1};
}

struct net_spec engine_net_spec(struct engine *e, enum net_mode mode,
                                int micro_batch, int threads)
{
    struct net_spec spec = {.graph = &e->graph,
                            .weights = &e->weights,
                            .micro_batch = micro_batch,
                            .mode = mode,
                            .threads = threads};
    normalization_from_config(e->config, spec.mean, spec.std);
    return spec;
}

static int n_local_replicas(const struct engine *e,
                            const struct train_plan *plan)
{
    int rank = e->comm->rank, size = e->comm->size;
    int replicas = (int)plan->batch.replicas;
    return reduction_first_replica(rank + 1, size, replicas) -
           reduction_first_replica(rank, size, replicas);
}

/* Of the training net. */
static struct net_spec train_net_spec(struct engine *e,
                                      const struct train_plan *plan)
{
    struct net_spec spec = engine_net_spec(
        e, NET_TRAIN, (int)plan->batch.micro_batch, plan->compute_threads);
    spec.optim = optim_from_config(e->config);
    spec.scaling = loss_scaling_of(e);
    spec.max_unread = n_local_replicas(e, plan) * e->backend.ops->depth;
    return spec;
}

enum vd_err engine_tune(struct engine *e, const struct train_plan *plan)
{
    struct net_spec spec = train_net_spec(e, plan);
    return e->backend.ops->tune(&e->backend, &spec, &e->tuning,
                                &e->tuning_bytes);
}

enum vd_err engine_build_net(struct engine *e, const struct train_plan *plan)
{
    struct net_spec spec = train_net_spec(e, plan);
    spec.plan = e->tuning;
    spec.plan_bytes = e->tuning_bytes;
    VD_TRY(weights_alloc(&e->backend, &e->graph, &e->weights));
    VD_TRY(e->backend.ops->net_new(&e->backend, &spec, &e->net));
    return step_init(&e->step, e->comm, &e->backend, e->net, &e->graph,
                     (int)plan->batch.replicas);
}

enum vd_err engine_connect(struct engine *e)
{
    const struct config *c = e->config;
    size_t bucket = (size_t)(c->exchange.bucket * (1 << 20) / sizeof(float));
    return step_open_exchange(&e->step, config_exchange_name(c), bucket);
}

/* ---- values ---- */

enum vd_err engine_put(struct engine *e, const struct checkpoint *values,
                       bool moments)
{
    const struct backend_ops *ops = e->backend.ops;
    struct weights *w = &e->weights;
    VD_TRY(ops->put(&e->backend, &e->graph, &w->param, values->param));
    VD_TRY(ops->put(&e->backend, &e->graph, &w->stats, values->stats));
    if (moments) {
        VD_TRY(ops->put(&e->backend, &e->graph, &w->m, values->m));
        VD_TRY(ops->put(&e->backend, &e->graph, &w->v, values->v));
    }
    w->version++;
    return VD_OK;
}

enum vd_err engine_get(struct engine *e, struct checkpoint *values)
{
    const struct backend_ops *ops = e->backend.ops;
    const struct weights *w = &e->weights;
    VD_TRY(checkpoint_new(values, &e->graph));
    VD_TRY(ops->get(&e->backend, &e->graph, values->param, &w->param));
    VD_TRY(ops->get(&e->backend, &e->graph, values->m, &w->m));
    VD_TRY(ops->get(&e->backend, &e->graph, values->v, &w->v));
    return ops->get(&e->backend, &e->graph, values->stats, &w->stats);
}

enum vd_err engine_put_scaler(struct engine *e, const float *scaler)
{
    float state[SCALER_N];
    memcpy(state, scaler, sizeof state);
    if (is_fp16(e) && state[SCALER_SCALE] == 0)
        state[SCALER_SCALE] = (float)e->config->optim.loss_scale;
    return e->backend.ops->put(&e->backend, &e->graph, &e->weights.scaler,
                               state);
}

enum vd_err engine_get_scaler(struct engine *e, float *scaler)
{
    return e->backend.ops->get(&e->backend, &e->graph, scaler,
                               &e->weights.scaler);
}

/* ---- input ---- */

static struct augment augment_from_config(const struct config *c)
{
    return (struct augment){.enable = c->augment.enable,
                            .flip = c->augment.flip,
                            .rotate = c->augment.rotate,
                            .brightness = c->augment.brightness,
                            .contrast = c->augment.contrast,
                            .saturation = c->augment.saturation,
                            .hue = c->augment.hue};
}

static void fill_prefetch_spec(struct engine *e, const struct train_plan *plan)
{
    const struct config *c = e->config;
    int rank = e->comm->rank, size = e->comm->size;
    int replicas = (int)plan->batch.replicas;
    e->input = (struct prefetch_spec){
        .data = e->data,
        .sampler = {.seed = (uint64_t)c->train.seed,
                    .n = e->data->n_images,
                    .shuffle = c->data.shuffle},
        .augment = augment_from_config(c),
        .schedule = schedule_from_config(c, plan->batch.global_batch),
        .backbone_lr_mult = c->optim.backbone_lr_mult,
        .seed = (uint64_t)c->train.seed,
        .micro_batch = (int)plan->batch.micro_batch,
        .replicas = replicas,
        .first_replica = reduction_first_replica(rank, size, replicas),
        .n_replicas = n_local_replicas(e, plan),
        .loader_threads = plan->loader_threads,
        .rank = rank,
        .backend = &e->backend,
        .net = e->net};
}

enum vd_err engine_start_prefetch(struct engine *e,
                                  const struct train_plan *plan, uint64_t first,
                                  uint64_t n_steps, bool repeat)
{
    fill_prefetch_spec(e, plan);
    e->input.first_step = first;
    e->input.last_step = first + n_steps;
    e->input.repeat_first_batch = repeat;
    e->n_local = e->input.n_replicas * e->input.micro_batch;
    e->results = xcalloc((size_t)e->n_local, sizeof *e->results);
    return n_steps > 0 ? prefetch_new(&e->prefetch, &e->input) : VD_OK;
}

uint64_t engine_image_index(const struct engine *e, uint64_t n_steps, int i)
{
    const struct prefetch_spec *input = &e->input;
    size_t k = (size_t)n_steps * (size_t)input->n_replicas +
               (size_t)(i / input->micro_batch);
    uint64_t position =
        prefetch_position(input, k) + (uint64_t)(i % input->micro_batch);
    return sampler_at(&input->sampler, position, NULL);
}

/* ---- a step ---- */

#define MAX_NAMED  8    /* images of a rank in a message */
#define MAX_LISTED 2048 /* bytes of all ranks: limits the log line */

/* Images of this rank whose loss is not finite: "rank 1 (host): a, b". */
static void list_non_finite(const struct engine *e, uint64_t step,
                            struct text *out)
{
    int n = 0;
    for (int i = 0; i < e->n_local; i++) {
        if (isfinite(e->results[i].l1) && isfinite(e->results[i].ce))
            continue;
        if (n++ >= MAX_NAMED)
            continue;
        uint64_t index =
            engine_image_index(e, step - 1 - e->input.first_step, i);
        if (out->length)
            text_add(out, ", ");
        else
            text_add(out, "; rank %d (%s): ", e->comm->rank,
                     e->comm->hosts[e->comm->rank]);
        text_add(out, "%s", e->data->id[index]);
    }
    if (n > MAX_NAMED)
        text_add(out, " and %d more", n - MAX_NAMED);
}

/* A staging buffer may become free only after means that are in flight. */
static enum vd_err poll_staged(void *ctx, bool *done)
{
    struct engine *e = ctx;
    VD_TRY(e->step.exchange.ops->test(&e->step.exchange));
    return prefetch_take(e->prefetch, done);
}

/* The context of wait_staged(). */
struct input_wait {
    struct engine *engine;
    double seconds; /* spent waiting for prefetched data */
};

static enum vd_err wait_staged(void *ctx)
{
    struct input_wait *w = ctx;
    double start = clock_now();
    enum vd_err err =
        comm_wait(w->engine->comm, SITE_STEP, poll_staged, w->engine);
    w->seconds += clock_now() - start;
    return err;
}

uint64_t engine_last_launched(const struct engine *e)
{
    return e->input.first_step + e->launched;
}

/* Launches steps ahead, up to the depth of the backend. */
static enum vd_err launch_steps(struct engine *e, uint64_t until,
                                struct input_wait *wait)
{
    uint64_t depth = (uint64_t)e->backend.ops->depth;
    while (e->launched == e->collected || (e->launched - e->collected < depth &&
                                           engine_last_launched(e) < until)) {
        VD_TRY(step_launch(&e->step, wait_staged, wait));
        e->launched++;
    }
    return VD_OK;
}

/* Completes the steps in flight without using their results. */
static enum vd_err drain_steps(struct engine *e)
{
    struct update_result update;
    struct result *unused = xcalloc((size_t)e->n_local, sizeof *unused);
    enum vd_err err = VD_OK;
    for (; err == VD_OK && e->collected < e->launched; e->collected++)
        err = step_collect(&e->step, unused, e->input.micro_batch, &update);
    free(unused);
    return err;
}

/* On rank 0: `listed` are the images of all ranks, [bytes]. */
static enum vd_err report_non_finite(const struct engine *e, uint64_t step,
                                     const char *listed, size_t bytes)
{
    char row[64] = "";
    if (is_fp16(e))
        snprintf(row, sizeof row, ", the last of %d such steps in a row",
                 ENGINE_MAX_NON_FINITE_IN_ROW);
    return VD_FAIL(VD_NUMERIC,
                   "step %llu: %s%s%.*s%s\n"
                   "start a run of another name with a smaller --optim.lr or "
                   "--optim.clip_norm 1%s; it can start from the last "
                   "checkpoint's weights (vocdist export, then "
                   "--model.weights)",
                   (unsigned long long)step,
                   bytes ? "the loss is not finite"
                         : "the gradient is not finite (all losses are)",
                   row, (int)(bytes < MAX_LISTED ? bytes : MAX_LISTED), listed,
                   bytes > MAX_LISTED ? "..." : "",
                   is_fp16(e) ? ", or --train.precision fp32" : "");
}

/* Collective: rank 0 reports the images of all ranks; nothing of this step is
 * written to a file. */
static enum vd_err fail_non_finite(struct engine *e, uint64_t step)
{
    struct text mine = {0};
    void *all = NULL;
    size_t total = 0, *sizes = xcalloc((size_t)e->comm->size, sizeof *sizes);
    list_non_finite(e, step, &mine);
    enum vd_err err = drain_steps(e);
    if (err == VD_OK)
        err = comm_gather(e->comm, SITE_STEP, mine.bytes, mine.length, &all,
                          sizes);
    for (int r = 0; r < e->comm->size; r++)
        total += sizes[r];
    if (err == VD_OK)
        err = e->comm->rank == 0 ? report_non_finite(e, step, all, total)
                                 : VD_NUMERIC;
    alloc_aligned_free(all);
    free(sizes);
    free(mine.bytes);
    return err == VD_NUMERIC ? comm_agree(e->comm, SITE_STEP, err) : err;
}

static void log_skipped(const struct engine *e, uint64_t step, float scale)
{
    if (e->comm->rank == 0)
        log_info("step %llu: the gradient is not finite at loss scale %g: "
                 "skipped; the loss scale is halved",
                 (unsigned long long)step, (double)scale);
}

enum vd_err engine_step(struct engine *e, uint64_t until,
                        struct step_stats *done)
{
    struct update_result update = {0};
    struct input_wait wait = {.engine = e};
    uint64_t step = e->input.first_step + e->collected + 1;
    comm_enter(e->comm, SITE_STEP, (int64_t)step, e->config->timeout.step);
    /* A step in flight began at the latest when the last one was collected. */
    double begin = e->launched > e->collected ? e->last_collect : clock_now();
    VD_TRY(launch_steps(e, until, &wait));
    VD_TRY(step_collect(&e->step, e->results, e->input.micro_batch, &update));
    e->collected++;
    if (update.outcome == UPDATE_HALTED)
        return fail_non_finite(e, step);
    if (update.outcome == UPDATE_SKIPPED)
        log_skipped(e, step, update.loss_scale);
    e->last_collect = clock_now();
    *done = (struct step_stats){.step = step,
                                .lr = schedule_lr(&e->input.schedule, step - 1),
                                .grad_norm = update.grad_norm,
                                .loss_scale =
                                    is_fp16(e) ? (double)update.loss_scale : 0,
                                .seconds = e->last_collect - begin,
                                .waited_s = wait.seconds,
                                .device_s = update.seconds};
    return VD_OK;
}

void engine_close(struct engine *e)
{
    prefetch_free(e->prefetch);
    step_close(&e->step);
    if (e->net)
        e->backend.ops->net_free(e->net);
    if (e->backend.ops) {
        weights_free(&e->backend, &e->weights);
        backend_close(&e->backend);
    }
    graph_clear(&e->graph);
    free(e->tuning);
    free(e->results);
}
