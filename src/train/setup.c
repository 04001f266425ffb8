/* Opening a run: phase after phase, each agreed by all ranks. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "comm/cores.h"
#include "exchange/tree.h"
#include "model/init.h"
#include "model/resnet.h"
#include "model/weights.h"
#include "store/atomic.h"
#include "train/stop.h"
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONFIG ((size_t)1 << 20)

/* ---- which run, and from where ---- */

static enum vd_err read_saved_config(struct trainer *t)
{
    enum vd_err err = VD_OK;
    char *path = run_path(&t->run, "config.yaml");
    size_t n = 0;
    if (file_exists(path))
        err = file_read(path, MAX_CONFIG, &t->saved_config, &n);
    free(path);
    return err;
}

static enum vd_err find_resume(struct trainer *t)
{
    const char *resume = t->config->resume;
    if (strcmp(resume, "auto") && strcmp(resume, "none")) {
        t->resume = mem_copy_text(resume);
        return VD_OK;
    }
    VD_TRY(checkpoint_find_newest(t->run.checkpoints, &t->resume));
    if (!strcmp(resume, "none") && t->resume)
        return VD_FAIL(VD_CREATE,
                       "%s: has checkpoints, and resume is none\n"
                       "give --train.name another name, or --resume auto",
                       t->run.folder);
    return VD_OK;
}

static enum vd_err open_run(struct trainer *t)
{
    if (t->comm->rank != 0)
        return VD_OK;
    VD_TRY(run_open(&t->run, t->config->train.dir, t->config->train.name));
    VD_TRY(find_resume(t));
    char *log = run_path(&t->run, "log.txt");
    enum vd_err err = log_set_file(log);
    free(log);
    VD_TRY(err);
    return read_saved_config(t);
}

/* A text that rank 0 has, or NULL, to all. */
static enum vd_err share_text(struct comm *c, char **text)
{
    uint64_t n = c->rank == 0 && *text ? strlen(*text) + 1 : 0;
    VD_TRY(comm_bcast(c, SITE_RESUME, &n, sizeof n, 0));
    if (n == 0)
        return VD_OK;
    if (c->rank != 0)
        *text = mem_new(n, 1);
    return comm_bcast(c, SITE_RESUME, *text, n, 0);
}

static enum vd_err share_saved(struct trainer *t)
{
    VD_TRY(share_text(t->comm, &t->saved_config));
    return share_text(t->comm, &t->resume);
}

static enum vd_err take_saved_config(struct trainer *t)
{
    if (!t->saved_config)
        return VD_OK;
    return config_resume(t->set, t->config->train.name, t->saved_config,
                         strlen(t->saved_config));
}

static enum vd_err compare_config(struct trainer *t)
{
    return comm_same(t->comm, SITE_CONFIG, "the configuration",
                     config_digest(t->set, CONFIG_CLASSES_ALL));
}

/* ---- data, cores, batch ---- */

static enum vd_err open_data(struct trainer *t)
{
    VD_TRY(shard_set_open(&t->train, t->config->data.train));
    t->has_val = *t->config->data.val != '\0';
    if (!t->has_val)
        return VD_OK;
    VD_TRY(shard_set_open(&t->val, t->config->data.val));
    bool same = t->val.n_classes == t->train.n_classes &&
                t->val.width == t->train.width;
    for (int k = 0; same && k < t->val.n_classes; k++)
        same = !strcmp(t->val.classes[k], t->train.classes[k]);
    if (!same)
        return VD_FAIL(VD_DATA,
                       "%s and %s differ in classes or size\n"
                       "pack both with the same --classes and --size",
                       t->config->data.train, t->config->data.val);
    return VD_OK;
}

static enum vd_err compare_data(struct trainer *t)
{
    VD_TRY(comm_same(t->comm, SITE_DATA, "the training data", t->train.digest));
    return comm_same(t->comm, SITE_DATA, "the validation data",
                     t->has_val ? t->val.digest : 0);
}

/* The bits depend on the number of compute threads, so all ranks take what
 * the one with the fewest cores has. */
static enum vd_err divide_cores(struct trainer *t)
{
    int mine = 1;
    VD_TRY(cores_divide(t->comm, &mine));
    int *all = mem_new((size_t)t->comm->size, sizeof *all);
    enum vd_err err =
        comm_allgather(t->comm, SITE_CORES, &mine, sizeof mine, all);
    int least = mine;
    for (int r = 0; err == VD_OK && r < t->comm->size; r++)
        least = all[r] < least ? all[r] : least;
    free(all);
    t->compute_threads = least;
    t->loader_threads = mine;
    return err;
}

static enum vd_err resolve(struct trainer *t, const char *key, const char *fmt,
                           ...) __attribute__((format(printf, 3, 4)));

/* Gives an `auto` key the value that this start has found. */
static enum vd_err resolve(struct trainer *t, const char *key, const char *fmt,
                           ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    VD_ASSERT(n >= 0);
    enum vd_err err = options_set(t->set, key, text, "resolved at the start");
    free(text);
    return err;
}

static enum vd_err resolve_batch(struct trainer *t)
{
    struct config *c = t->config;
    VD_TRY(
        batch_resolve(c, t->comm->size, (int64_t)t->train.n_images, &t->batch));
    VD_TRY(resolve(t, "train.replicas", "%lld", (long long)t->batch.replicas));
    VD_TRY(resolve(t, "train.global_batch", "%lld",
                   (long long)t->batch.global_batch));
    VD_TRY(resolve(t, "train.micro_batch", "%lld",
                   (long long)t->batch.micro_batch));
    if (c->cpu.threads == CONFIG_AUTO)
        VD_TRY(resolve(t, "cpu.threads", "%d", t->compute_threads));
    t->compute_threads = (int)c->cpu.threads;
    if (c->data.loader_threads != CONFIG_AUTO)
        t->loader_threads = (int)c->data.loader_threads;
    if (c->model.freeze == FREEZE_AUTO)
        VD_TRY(resolve(t, "model.freeze", "%s",
                       *c->model.weights ? "backbone" : "none"));
    if (!strcmp(c->tune, "auto"))
        VD_TRY(resolve(t, "tune", "off"));
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
        VD_TRY(resolve(t, "optim.schedule_steps", "%llu",
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
    int64_t *counts = mem_new(classes, sizeof *counts);
    double *weights = mem_new(classes, sizeof *weights);
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

static enum vd_err open_device(struct trainer *t)
{
    static const char *const names[] = {[BACKEND_AUTO] = "auto",
                                        [BACKEND_CPU] = "cpu",
                                        [BACKEND_CUDA] = "cuda",
                                        [BACKEND_REF] = "ref"};
    struct backend_config config = {.local_rank = t->comm->node_rank,
                                    .tune = t->config->tune};
    return backend_open(&t->backend, names[t->config->backend], &config);
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
    return evaluator_new(&t->evaluator, &t->backend, &spec, &t->val);
}

static enum vd_err connect(struct trainer *t)
{
    static const char *const names[] = {[EXCHANGE_AUTO] = "auto",
                                        [EXCHANGE_NONE] = "none",
                                        [EXCHANGE_MPI] = "mpi",
                                        [EXCHANGE_NCCL] = "nccl"};
    return step_connect(&t->step, names[t->config->exchange.name]);
}

/* ---- what the first step begins with ---- */

static enum vd_err read_checkpoint(struct trainer *t)
{
    VD_TRY(checkpoint_read_head(&t->start, t->resume));
    VD_TRY(state_parse(&t->state, t->resume, t->start.state));
    if (t->state.data_digest != t->train.digest)
        return VD_FAIL(VD_CONFIG,
                       "%s was trained on other data than %s\n"
                       "give the same data, or start a run of another name",
                       t->resume, t->config->data.train);
    return checkpoint_read_values(&t->start, &t->graph, t->resume);
}

static enum vd_err load_weights(struct trainer *t)
{
    struct weights_report report = {0};
    const char *path = t->config->model.weights;
    enum vd_err err = weights_load(&t->graph, path, false, t->start.param,
                                   t->start.stats, &report);
    if (err == VD_OK)
        log_info("%s: %s", path, report.text);
    weights_report_clear(&report);
    return err;
}

/* Rank 0 reads or draws, the others get its values. */
static enum vd_err make_start(struct trainer *t)
{
    bool reads = t->resume && t->comm->rank == 0;
    if (reads)
        return read_checkpoint(t);
    VD_TRY(checkpoint_new(&t->start, &t->graph));
    t->state.data_digest = t->train.digest;
    if (t->resume)
        return VD_OK;
    init_all(&t->graph, (uint64_t)t->config->train.seed, t->start.param,
             t->start.stats);
    if (*t->config->model.weights && t->comm->rank == 0)
        return load_weights(t);
    return VD_OK;
}

static enum vd_err share_floats(struct trainer *t, float *values, size_t n)
{
    return comm_bcast(t->comm, SITE_WEIGHTS, values, n * sizeof *values, 0);
}

static enum vd_err share_start(struct trainer *t)
{
    struct checkpoint *s = &t->start;
    VD_TRY(share_floats(t, s->param, s->n_params));
    VD_TRY(share_floats(t, s->m, s->n_trainable));
    VD_TRY(share_floats(t, s->v, s->n_trainable));
    VD_TRY(share_floats(t, s->stats, s->n_stats));
    return comm_bcast(t->comm, SITE_WEIGHTS, &t->state, sizeof t->state, 0);
}

static enum vd_err put_start(struct trainer *t)
{
    const struct backend_ops *ops = t->backend.ops;
    struct weights *w = &t->weights;
    VD_TRY(ops->put(&t->backend, &t->graph, &w->param, t->start.param));
    VD_TRY(ops->put(&t->backend, &t->graph, &w->m, t->start.m));
    VD_TRY(ops->put(&t->backend, &t->graph, &w->v, t->start.v));
    VD_TRY(ops->put(&t->backend, &t->graph, &w->stats, t->start.stats));
    w->version++;
    checkpoint_clear(&t->start);
    return VD_OK;
}

/* ---- books and pipelines ---- */

static enum vd_err save_config(struct trainer *t)
{
    struct text yaml = {0};
    char *path = run_path(&t->run, "config.yaml");
    options_format_yaml(t->set, false, &yaml);
    enum vd_err err = atomic_write(path, yaml.bytes, yaml.length);
    free(yaml.bytes);
    free(path);
    return err;
}

static enum vd_err open_books(struct trainer *t)
{
    if (t->comm->rank != 0)
        return VD_OK;
    VD_TRY(save_config(t));
    VD_TRY(run_open_series(&t->run, &t->state));
    return checkpoint_writer_new(&t->writer, t->run.checkpoints, &t->graph,
                                 (int)t->config->checkpoint.keep);
}

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

static void fill_feed(struct trainer *t)
{
    const struct config *c = t->config;
    int rank = t->comm->rank, size = t->comm->size;
    int replicas = (int)t->batch.replicas;
    int first = tree_first_replica(rank, size, replicas);
    t->feed_spec = (struct feed_spec){
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
        .n_replicas = tree_first_replica(rank + 1, size, replicas) - first,
        .first_step = t->state.step,
        .last_step = t->last_step,
        .loader_threads = t->loader_threads,
        .rank = rank,
        .backend = t->backend.ops,
        .net = t->net};
    fill_schedule(t, &t->feed_spec.schedule);
}

static enum vd_err open_pipeline(struct trainer *t)
{
    fill_feed(t);
    t->account = (struct account){.comm = t->comm,
                                  .data = &t->train,
                                  .loss = &t->graph.loss,
                                  .sampler = t->feed_spec.sampler,
                                  .rows = &t->run.steps,
                                  .replicas = (int)t->batch.replicas,
                                  .micro_batch = (int)t->batch.micro_batch,
                                  .epoch = t->state.epoch};
    memcpy(t->account.sums, t->state.sums, sizeof t->state.sums);
    account_init(&t->account, (int)t->config->log.every);
    t->results = mem_new((size_t)t->account.n_mine, sizeof *t->results);
    if (t->state.step >= t->last_step)
        return VD_OK;
    return feed_new(&t->feed, &t->feed_spec);
}

/* ---- the order of it all ---- */

struct phase {
    enum fault_site site;
    enum vd_err (*open)(struct trainer *t);
    bool is_collective; /* its verdict is agreed already */
};

static const struct phase phases[] = {
    {SITE_RUN_FOLDER, open_run, false},
    {SITE_RESUME, share_saved, true},
    {SITE_RESUME, take_saved_config, false},
    {SITE_CONFIG, compare_config, true},
    {SITE_DATA, open_data, false},
    {SITE_DATA, compare_data, true},
    {SITE_CORES, divide_cores, true},
    {SITE_CONFIG, resolve_batch, false},
    {SITE_CONFIG, resolve_steps, false},
    {SITE_MODEL, build_graph, false},
    {SITE_DEVICE, open_device, false},
    {SITE_PLAN, build_net, false},
    {SITE_EXCHANGE, connect, true},
    {SITE_WEIGHTS, make_start, false},
    {SITE_WEIGHTS, share_start, true},
    {SITE_WEIGHTS, put_start, false},
    {SITE_RUN_FOLDER, open_books, false},
    {SITE_DATA, open_pipeline, false},
};

enum vd_err trainer_open(struct trainer *t)
{
    double limit = t->config->timeout.setup;
    t->comm->timeout_s = limit;
    stop_watch();
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        const struct phase *p = &phases[i];
        watchdog_beat(&t->watchdog, p->site, -1, limit);
        enum vd_err err = p->open(t);
        if (p->is_collective)
            VD_TRY(err);
        else
            VD_TRY(comm_agree(t->comm, p->site, err));
    }
    return VD_OK;
}

void trainer_close(struct trainer *t)
{
    feed_free(t->feed);
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
    account_clear(&t->account);
    checkpoint_clear(&t->start);
    shard_set_close(&t->train);
    shard_set_close(&t->val);
    if (t->comm->rank == 0 && log_set_file(NULL) == VD_OK)
        run_close(&t->run);
    free(t->results);
    free(t->saved_config);
    free(t->resume);
}
