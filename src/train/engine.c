/*
 * Opens and closes the parts of a training step: graph, net, weights, exchange,
 * input. The device is in engine_device.c, running a step in engine_step.c.
 */
#include "train/engine.h"

#include "backend/reduction_tree.h"
#include "base/alloc.h"
#include "model/graph_config.h"

#include <stdlib.h>
#include <string.h>

void engine_init(struct engine *e, struct comm *comm,
                 const struct config *config, const struct shard_set *data)
{
    *e = (struct engine){.comm = comm, .config = config, .data = data};
}

/* ---- graph ---- */

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

bool engine_is_fp16(const struct engine *e)
{
    return e->config->train.precision == PRECISION_FP16;
}

static struct loss_scaling loss_scaling_of(const struct engine *e)
{
    if (!engine_is_fp16(e))
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
    if (engine_is_fp16(e) && state[SCALER_SCALE] == 0)
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
