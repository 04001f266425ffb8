/* Opening a run: phase after phase, each agreed by all ranks. */
#include "train/setup.h"
#include "base/alloc.h"
#include "base/log.h"
#include "comm/cores.h"
#include "comm/phase.h"
#include "exchange/reduction_tree.h"
#include "model/init.h"
#include "model/resnet.h"
#include "model/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define UNLIMITED_STEPS ((uint64_t)1 << 32) /* of a scratch session */

static enum vd_err compare_config(struct trainer *t)
{
    return comm_check_equal(t->comm, SITE_CONFIG, "the configuration",
                            config_digest(t->set, CONFIG_CLASSES_ALL));
}

/* ---- data, cores, batch ---- */

/* Their metrics do not show how the network does on new images. */
static void warn_of_shared_images(const struct trainer *t)
{
    size_t example = 0;
    size_t n = shard_set_count_shared(&t->train, &t->val, &example);
    if (n)
        log_warn_global("%s: %zu of its %zu images are in %s as well, such as "
                        "\"%s\"\nvalidation must be of other images: vocpack "
                        "pack VOCROOT --split train,val -o DIR",
                        t->config->data.val, n, t->val.n_images,
                        t->config->data.train, t->val.id[example]);
}

static void warn_of_unlearned_class(const struct trainer *t)
{
    size_t n_classes = (size_t)t->train.n_classes, n_images = 0;
    bool *learned = xcalloc(n_classes, sizeof *learned);
    int32_t example = -1;
    for (size_t i = 0; i < t->train.n_images; i++)
        learned[t->train.class[i]] = true;
    for (size_t i = 0; i < t->val.n_images; i++)
        if (!learned[t->val.class[i]]) {
            n_images++;
            example = t->val.class[i];
        }
    free(learned);
    if (n_images)
        log_warn_global(
            "%s: %zu of its %zu images have a class that is never "
            "in %s, such as \"%s\"\nit cannot be learned: pack with "
            "lists that have every class in train",
            t->config->data.val, n_images, t->val.n_images,
            t->config->data.train, t->val.classes[example]);
}

static enum vd_err open_data(struct trainer *t)
{
    VD_TRY(shard_set_open(&t->train, t->config->data.train));
    if (t->train.width != t->train.height)
        return VD_FAIL(VD_DATA,
                       "%s: images of %d x %d, the network takes squares\n"
                       "pack them again with --size N",
                       t->config->data.train, t->train.width, t->train.height);
    t->has_val = *t->config->data.val != '\0';
    if (!t->has_val)
        return VD_OK;
    VD_TRY(shard_set_open(&t->val, t->config->data.val));
    bool same =
        t->val.width == t->train.width && t->val.height == t->train.height &&
        shard_set_has_classes(&t->val, t->train.classes, t->train.n_classes);
    if (!same)
        return VD_FAIL(VD_DATA,
                       "%s and %s differ in classes or size\n"
                       "pack both in one go (--split train,val), or with the "
                       "same --classes and --size",
                       t->config->data.train, t->config->data.val);
    warn_of_shared_images(t);
    warn_of_unlearned_class(t);
    return VD_OK;
}

static enum vd_err compare_data(struct trainer *t)
{
    VD_TRY(comm_check_equal(t->comm, SITE_DATA, "the training data",
                            t->train.digest));
    return comm_check_equal(t->comm, SITE_DATA, "the validation data",
                            t->has_val ? t->val.digest : 0);
}

#define FIXES_THREADS                                                          \
    "give --cpu.threads N for another number: the first start of a run fixes " \
    "it"

/* Fewer threads than cores, by what users do not see. */
static void warn_of_limit(const struct cores_threads *mine)
{
    if (mine->limited_by_omp)
        log_warn("cpu.threads: auto is %d, not %d, by "
                 "OMP_NUM_THREADS\n" FIXES_THREADS,
                 mine->n, mine->share);
    else if (mine->quota.cpus > 0)
        log_warn("cpu.threads: auto is %d, not %d: the control group has a CPU "
                 "quota of %.3g for %d ranks here\n" FIXES_THREADS,
                 mine->n, mine->share, mine->quota.cpus, mine->quota_ranks);
}

/* The bits depend on the number of compute threads, so all ranks take what
 * the one with the fewest has. */
static enum vd_err divide_cores(struct trainer *t)
{
    struct cores_threads mine = {.n = 1};
    VD_TRY(cores_explain_threads(t->comm, &mine));
    int *all = xcalloc((size_t)t->comm->size, sizeof *all), least = 0;
    enum vd_err err =
        comm_allgather(t->comm, SITE_CORES, &mine.n, sizeof mine.n, all);
    for (int r = 0; err == VD_OK && r < t->comm->size; r++)
        least = all[r] < all[least] ? r : least;
    t->compute_threads = all[least];
    t->loader_threads = mine.n;
    free(all);
    if (least == t->comm->rank && t->config->cpu.threads == CONFIG_AUTO)
        warn_of_limit(&mine);
    return err;
}

static enum vd_err resolve_auto(struct trainer *t, const char *key,
                                const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Gives an `auto` key the value that this start has found. */
static enum vd_err resolve_auto(struct trainer *t, const char *key,
                                const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    enum vd_err err = options_set(t->set, key, text, "resolved at the start");
    free(text);
    return err;
}

static enum vd_err resolve_batch(struct trainer *t)
{
    struct config *c = t->config;
    VD_TRY(
        batch_resolve(c, t->comm->size, (int64_t)t->train.n_images, &t->batch));
    VD_TRY(resolve_auto(t, "train.replicas", "%lld",
                        (long long)t->batch.replicas));
    VD_TRY(resolve_auto(t, "train.global_batch", "%lld",
                        (long long)t->batch.global_batch));
    VD_TRY(resolve_auto(t, "train.micro_batch", "%lld",
                        (long long)t->batch.micro_batch));
    if (c->cpu.threads == CONFIG_AUTO)
        VD_TRY(resolve_auto(t, "cpu.threads", "%d", t->compute_threads));
    t->compute_threads = (int)c->cpu.threads;
    if (c->data.loader_threads != CONFIG_AUTO)
        t->loader_threads = (int)c->data.loader_threads;
    if (c->model.freeze == FREEZE_AUTO)
        VD_TRY(resolve_auto(t, "model.freeze", "%s",
                            *c->model.weights ? "backbone" : "none"));
    if (!strcmp(c->tune, "auto"))
        VD_TRY(resolve_auto(t, "tune", "off"));
    memory_hints_set(t);
    return VD_OK;
}

static enum vd_err resolve_steps(struct trainer *t)
{
    struct config *c = t->config;
    uint64_t n = t->train.n_images, batch = (uint64_t)t->batch.global_batch;
    t->last_step = c->train.steps != CONFIG_AUTO
                       ? (uint64_t)c->train.steps
                       : sampler_steps(n, (uint64_t)c->train.epochs, batch);
    if (c->optim.schedule_steps == CONFIG_AUTO)
        VD_TRY(resolve_auto(t, "optim.schedule_steps", "%llu",
                            (unsigned long long)t->last_step));
    return VD_OK;
}

/* ---- network and device ---- */

void trainer_normalization(const struct config *config, float mean[3],
                           float std[3])
{
    const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f};
    const float imagenet_std[3] = {0.229f, 0.224f, 0.225f};
    bool imagenet = config->data.normalize == NORMALIZE_IMAGENET;
    for (int k = 0; k < 3; k++) {
        mean[k] = imagenet ? imagenet_mean[k] : 0;
        std[k] = imagenet ? imagenet_std[k] : 1;
    }
}

enum vd_err trainer_build_graph(const struct config *config, int n_classes,
                                int32_t size, struct graph *graph)
{
    static const enum resnet_freeze freezes[] = {
        [FREEZE_AUTO] = RESNET_FREEZE_NONE,
        [FREEZE_NONE] = RESNET_FREEZE_NONE,
        [FREEZE_STEM] = RESNET_FREEZE_STEM,
        [FREEZE_LAYER1] = RESNET_FREEZE_LAYER1,
        [FREEZE_LAYER2] = RESNET_FREEZE_LAYER2,
        [FREEZE_LAYER3] = RESNET_FREEZE_LAYER3,
        [FREEZE_BACKBONE] = RESNET_FREEZE_BACKBONE,
    };
    struct resnet_spec spec = {
        .size = size,
        .width = (int32_t)config->model.width,
        .head_dropout = config->model.head_dropout,
        .freeze = freezes[config->model.freeze],
        .freeze_bn_eval = config->model.freeze_bn == FREEZE_BN_EVAL,
        .loss = {.classes = n_classes,
                 .box_scale = config->loss.box_scale,
                 .class_scale = config->loss.class_scale},
    };
    for (int i = 0; i < 4; i++)
        spec.blocks[i] = (int32_t)config->model.blocks.values[i];
    VD_TRY(resnet_check(&spec));
    resnet_build(graph, &spec);
    return VD_OK;
}

/* Rare classes count more: n / (classes x n of the class). */
static void balance_classes(struct trainer *t)
{
    size_t classes = (size_t)t->train.n_classes;
    int64_t *counts = xcalloc(classes, sizeof *counts);
    double *weights = xcalloc(classes, sizeof *weights);
    for (size_t i = 0; i < t->train.n_images; i++)
        counts[t->train.class[i]]++;
    for (size_t k = 0; k < classes; k++)
        weights[k] = counts[k] ? (double)t->train.n_images /
                                     ((double)classes * (double)counts[k])
                               : 1;
    t->graph.loss.class_weights = weights;
    free(counts);
}

static enum vd_err build_graph(struct trainer *t)
{
    VD_TRY(trainer_build_graph(t->config, t->train.n_classes, t->train.width,
                               &t->graph));
    if (t->config->loss.weights == LOSS_WEIGHTS_BALANCED)
        balance_classes(t);
    return VD_OK;
}

static void fill_optim(const struct config *c, struct optim *o)
{
    *o = (struct optim){.rule = (enum optim_rule)c->optim.name,
                        .beta1 = c->optim.beta1,
                        .beta2 = c->optim.beta2,
                        .eps = c->optim.eps,
                        .weight_decay = c->optim.weight_decay,
                        .momentum = c->optim.momentum,
                        .clip_norm = c->optim.clip_norm};
}

/* Precisions come with the backends that have them. */
static enum vd_err check_precision(const struct trainer *t)
{
    struct text name = {0};
    if (t->config->train.precision == PRECISION_FP32)
        return VD_OK;
    options_format(t->set, "train.precision", &name);
    enum vd_err err = VD_FAIL(VD_UNSUPPORTED,
                              "backend %s computes in fp32 only, not in %s\n"
                              "give --train.precision fp32",
                              t->backend.ops->name, name.bytes);
    free(name.bytes);
    return err;
}

static enum vd_err open_device(struct trainer *t)
{
    struct backend_config config = {.local_rank = t->comm->node_rank,
                                    .tune = t->config->tune};
    VD_TRY(backend_open(&t->backend, config_backend_name(t->config), &config));
    VD_TRY(check_precision(t));
    return t->config->backend == BACKEND_AUTO
               ? resolve_auto(t, "backend", "%s", t->backend.ops->name)
               : VD_OK;
}

void setup_describe_device(struct trainer *t, char *out, size_t room)
{
    struct backend *b = &t->backend;
    snprintf(out, room, "%s (%s)", b->ops->name, b->ops->describe(b));
}

/* Ranks exchange gradients in their devices' own layout, so one of another
 * kind would train garbage. */
static enum vd_err compare_devices(struct trainer *t)
{
    const struct comm *c = t->comm;
    char mine[SETUP_DEVICE_MAX] = "";
    char(*all)[SETUP_DEVICE_MAX] = xcalloc((size_t)c->size, sizeof *all);
    int odd = 0;
    setup_describe_device(t, mine, sizeof mine);
    enum vd_err err =
        comm_allgather(t->comm, SITE_DEVICE, mine, sizeof mine, all);
    while (err == VD_OK && odd < c->size && !strcmp(all[odd], all[0]))
        odd++;
    if (err == VD_OK && odd < c->size) {
        err = VD_CONFIG;
        if (c->rank == 0)
            log_error("rank 0 (%s) computes on %s, rank %d (%s) on %s\n"
                      "take machines of one kind, or let all processors be "
                      "used as the oldest: ONEDNN_MAX_CPU_ISA=AVX2, or "
                      "AVX512_CORE, for every rank",
                      c->hosts[0], all[0], odd, c->hosts[odd], all[odd]);
        err = comm_agree(t->comm, SITE_DEVICE, err);
    }
    free(all);
    return err;
}

static enum vd_err build_net(struct trainer *t)
{
    struct net_spec spec = {.graph = &t->graph,
                            .weights = &t->weights,
                            .micro_batch = (int)t->batch.micro_batch,
                            .mode = NET_TRAIN,
                            .threads = t->compute_threads};
    fill_optim(t->config, &spec.optim);
    trainer_normalization(t->config, spec.mean, spec.std);
    VD_TRY(weights_alloc(&t->backend, &t->graph, &t->weights));
    VD_TRY(t->backend.ops->net_new(&t->backend, &spec, &t->net));
    VD_TRY(step_init(&t->step, t->comm, &t->backend, t->net, &t->graph,
                     (int)t->batch.replicas));
    if (!t->has_val)
        return VD_OK;
    spec.mode = NET_EVAL;
    spec.micro_batch = (int)t->config->eval.batch;
    t->evaluator = evaluator_new(&t->backend, &spec, &t->val);
    return VD_OK;
}

static enum vd_err open_exchange(struct trainer *t)
{
    return step_open_exchange(&t->step, config_exchange_name(t->config));
}

/* ---- what the first step begins with ---- */

static enum vd_err load_weights(struct trainer *t)
{
    struct weights_report report = {0};
    const char *path = t->config->model.weights;
    enum vd_err err = weights_load(&t->graph, path, false, t->initial.param,
                                   t->initial.stats, &report);
    if (err == VD_OK)
        log_info("%s: %s", path, report.text);
    if (err == VD_OK && !report.head)
        init_head(&t->graph, (uint64_t)t->config->train.seed, t->initial.param,
                  t->initial.stats);
    weights_report_clear(&report);
    return err;
}

/* Rank 0 has read it or draws it, the others get its values. */
static enum vd_err make_initial(struct trainer *t)
{
    if (t->resume && t->comm->rank == 0)
        return setup_restore_state(t);
    VD_TRY(checkpoint_new(&t->initial, &t->graph));
    t->state.data_digest = t->train.digest;
    t->state.best_metric_data = t->has_val ? t->val.digest : 0;
    if (t->resume || t->comm->rank != 0)
        return VD_OK;
    if (*t->config->model.weights)
        return load_weights(t);
    init_all(&t->graph, (uint64_t)t->config->train.seed, t->initial.param,
             t->initial.stats);
    return VD_OK;
}

static enum vd_err broadcast_floats(struct trainer *t, float *values, size_t n)
{
    return comm_bcast(t->comm, SITE_WEIGHTS, values, n * sizeof *values, 0);
}

static enum vd_err broadcast_initial(struct trainer *t)
{
    struct checkpoint *s = &t->initial;
    VD_TRY(broadcast_floats(t, s->param, s->n_params));
    VD_TRY(broadcast_floats(t, s->stats, s->n_stats));
    if (t->resume) { /* else they are zeros */
        VD_TRY(broadcast_floats(t, s->m, s->n_trainable));
        VD_TRY(broadcast_floats(t, s->v, s->n_trainable));
    }
    return comm_bcast(t->comm, SITE_WEIGHTS, &t->state, sizeof t->state, 0);
}

static enum vd_err upload_initial(struct trainer *t)
{
    const struct backend_ops *ops = t->backend.ops;
    struct weights *w = &t->weights;
    VD_TRY(ops->put(&t->backend, &t->graph, &w->param, t->initial.param));
    VD_TRY(ops->put(&t->backend, &t->graph, &w->stats, t->initial.stats));
    if (t->resume) { /* else they are zeros already */
        VD_TRY(ops->put(&t->backend, &t->graph, &w->m, t->initial.m));
        VD_TRY(ops->put(&t->backend, &t->graph, &w->v, t->initial.v));
    }
    w->version++;
    checkpoint_clear(&t->initial);
    return VD_OK;
}

/* ---- run outputs and pipelines ---- */

static void fill_schedule(const struct trainer *t, struct schedule *s)
{
    static const enum schedule_kind kinds[] = {
        [SCHEDULE_CONSTANT] = SCHEDULE_KIND_CONSTANT,
        [SCHEDULE_STEP] = SCHEDULE_KIND_STEP,
        [SCHEDULE_COSINE] = SCHEDULE_KIND_COSINE,
        [SCHEDULE_ONECYCLE] = SCHEDULE_KIND_ONECYCLE,
    };
    const struct config *c = t->config;
    double ratio = (double)t->batch.global_batch / CONFIG_GLOBAL_BATCH;
    double scale = c->optim.lr_scale == LR_SCALE_LINEAR ? ratio
                   : c->optim.lr_scale == LR_SCALE_SQRT ? sqrt(ratio)
                                                        : 1;
    *s = (struct schedule){.kind = kinds[c->optim.schedule],
                           .lr = c->optim.lr * scale,
                           .steps = (uint64_t)c->optim.schedule_steps,
                           .warmup = (uint64_t)c->optim.warmup,
                           .gamma = c->optim.gamma,
                           .milestones = c->optim.milestones.values,
                           .n_milestones = c->optim.milestones.n};
}

static void fill_prefetch_spec(struct trainer *t)
{
    const struct config *c = t->config;
    int rank = t->comm->rank, size = t->comm->size;
    int replicas = (int)t->batch.replicas;
    int first = reduction_first_replica(rank, size, replicas);
    t->prefetch_spec = (struct prefetch_spec){
        .data = &t->train,
        .sampler = {.seed = (uint64_t)c->train.seed,
                    .n = t->train.n_images,
                    .shuffle = c->data.shuffle},
        .augment = {.enable = c->augment.enable,
                    .flip = c->augment.flip,
                    .rotate = c->augment.rotate,
                    .brightness = c->augment.brightness,
                    .contrast = c->augment.contrast,
                    .saturation = c->augment.saturation,
                    .hue = c->augment.hue},
        .backbone_lr_mult = c->optim.backbone_lr_mult,
        .seed = (uint64_t)c->train.seed,
        .micro_batch = (int)t->batch.micro_batch,
        .replicas = replicas,
        .first_replica = first,
        .n_replicas = reduction_first_replica(rank + 1, size, replicas) - first,
        .first_step = t->state.step,
        .last_step = t->policy ? t->state.step + UNLIMITED_STEPS : t->last_step,
        .repeat_first_batch = t->policy && t->policy->repeat_first_batch,
        .loader_threads = t->loader_threads,
        .rank = rank,
        .backend = t->backend.ops,
        .net = t->net};
    fill_schedule(t, &t->prefetch_spec.schedule);
}

static enum vd_err open_pipeline(struct trainer *t)
{
    fill_prefetch_spec(t);
    t->loss_meter =
        (struct loss_meter){.comm = t->comm,
                            .data = &t->train,
                            .loss = &t->graph.loss,
                            .sampler = t->prefetch_spec.sampler,
                            .steps_jsonl = &t->run.steps,
                            .replicas = (int)t->batch.replicas,
                            .micro_batch = (int)t->batch.micro_batch,
                            .epoch = t->state.epoch};
    memcpy(t->loss_meter.sums, t->state.sums, sizeof t->state.sums);
    loss_meter_init(&t->loss_meter, (int)t->config->log.every);
    t->results = xcalloc((size_t)t->loss_meter.n_local, sizeof *t->results);
    if (!t->policy && trainer_is_finished(t))
        return VD_OK;
    return prefetch_new(&t->prefetch, &t->prefetch_spec);
}

/* ---- the order of it all ---- */

enum phase_kind {
    PHASE_LOCAL,      /* every rank; what all say is said once */
    PHASE_ROOT,       /* rank 0 alone */
    PHASE_COLLECTIVE, /* its verdict is agreed already */
};

struct phase {
    enum fault_site site;
    enum vd_err (*open)(struct trainer *t);
    enum phase_kind kind;
};

static const struct phase phases[] = {
    {SITE_DATA, open_data, PHASE_LOCAL},
    {SITE_DATA, compare_data, PHASE_COLLECTIVE},
    {SITE_RUN_FOLDER, setup_open_run, PHASE_ROOT},
    {SITE_RESUME, setup_broadcast_saved, PHASE_COLLECTIVE},
    {SITE_RESUME, setup_apply_saved, PHASE_LOCAL},
    {SITE_CONFIG, compare_config, PHASE_COLLECTIVE},
    {SITE_CORES, divide_cores, PHASE_COLLECTIVE},
    {SITE_CONFIG, resolve_batch, PHASE_LOCAL},
    {SITE_CONFIG, resolve_steps, PHASE_LOCAL},
    {SITE_MODEL, build_graph, PHASE_LOCAL},
    {SITE_DEVICE, open_device, PHASE_LOCAL},
    {SITE_DEVICE, compare_devices, PHASE_COLLECTIVE},
    {SITE_PLAN, build_net, PHASE_LOCAL},
    {SITE_EXCHANGE, open_exchange, PHASE_LOCAL},
    {SITE_WEIGHTS, make_initial, PHASE_LOCAL},
    {SITE_WEIGHTS, broadcast_initial, PHASE_COLLECTIVE},
    {SITE_WEIGHTS, upload_initial, PHASE_LOCAL},
    {SITE_DATA, open_pipeline, PHASE_LOCAL},
    {SITE_RUN_FOLDER, setup_open_outputs, PHASE_ROOT},
};

/* A phase at work. */
struct phase_call {
    struct trainer *t;
    const struct phase *phase;
};

static enum vd_err open_phase(void *ctx)
{
    const struct phase_call *o = ctx;
    bool is_idle = o->phase->kind == PHASE_ROOT && o->t->comm->rank != 0;
    return is_idle ? VD_OK : o->phase->open(o->t);
}

static enum vd_err run_phase(struct trainer *t, const struct phase *p)
{
    struct phase_call call = {t, p};
    if (p->kind == PHASE_COLLECTIVE)
        return p->open(t);
    return comm_phase(t->comm, p->site, open_phase, &call);
}

enum vd_err trainer_open(struct trainer *t)
{
    double limit = t->config->timeout.setup;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        comm_enter(t->comm, phases[i].site, -1, limit);
        VD_TRY(run_phase(t, &phases[i]));
    }
    return VD_OK;
}

void trainer_close(struct trainer *t)
{
    prefetch_free(t->prefetch);
    checkpoint_writer_free(t->writer);
    evaluator_free(t->evaluator);
    step_close(&t->step);
    if (t->net)
        t->backend.ops->net_free(t->net);
    if (t->backend.ops) {
        weights_free(&t->backend, &t->weights);
        backend_close(&t->backend);
    }
    graph_clear(&t->graph);
    loss_meter_clear(&t->loss_meter);
    checkpoint_clear(&t->initial);
    shard_set_close(&t->train);
    shard_set_close(&t->val);
    run_close(&t->run);
    free(t->results);
    free(t->saved_config);
    free(t->resume);
}
