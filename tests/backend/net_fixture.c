/*
 * The fixture opens a backend, allocates weights and an exchange buffer, and
 * creates one net with one thread. Each kind of step has a key of its own
 * (forward 0, both passes 1, update 2, backward 3), so backends with capture
 * can replay it. Numbers come from base/rng.h, by position: equal on every
 * backend.
 */
#include "backend/net_fixture.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "model/init.h"

#ifndef PLUGIN_DIR
#define PLUGIN_DIR ""
#endif

#define OPS(f)   ((f)->backend.ops)
#define OK(call) assert_int_equal((call), VD_OK)

const char *const *net_fixture_backends(void)
{
    static const char *names[16];
    int n = 0;
    for (const struct backend_ops *const *ops = backend_list(); *ops; ops++)
        names[n++] = (*ops)->name;
    if (*PLUGIN_DIR) {
        names[n++] = "deferred";
        names[n++] = "deferred-check";
    }
    names[n] = NULL;
    return names;
}

struct optim net_fixture_adam(void)
{
    return (struct optim){
        .rule = OPTIM_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
}

void net_fixture_open(struct net_fixture *f, const char *backend,
                      const struct graph *g, int batch, enum net_mode mode,
                      const struct optim *optim)
{
    const struct loss_scaling none = {0};
    net_fixture_open_scaled(f, backend, g, batch, mode, optim, &none);
}

void net_fixture_open_scaled(struct net_fixture *f, const char *backend,
                             const struct graph *g, int batch,
                             enum net_mode mode, const struct optim *optim,
                             const struct loss_scaling *scaling)
{
    *f = (struct net_fixture){.graph = g, .batch = batch};
    struct backend_config config = {.plugin_dir = PLUGIN_DIR};
    OK(backend_open(&f->backend, backend, &config));
    OK(weights_alloc(&f->backend, g, &f->weights));
    OK(OPS(f)->alloc(&f->backend, g, BUF_EXCHANGE, &f->exchange));
    struct net_spec spec = {.graph = g,
                            .weights = &f->weights,
                            .micro_batch = batch,
                            .mode = mode,
                            .threads = 1,
                            .max_unread = FIXTURE_MAX_UNREAD,
                            .optim = *optim,
                            .scaling = *scaling,
                            .std = {1, 1, 1}};
    OK(OPS(f)->net_new(&f->backend, &spec, &f->net));
    size_t bytes = graph_node_count(&g->nodes[0]);
    f->items = xcalloc((size_t)batch, sizeof *f->items);
    f->pixels = xcalloc((size_t)batch, bytes);
    f->images = xcalloc((size_t)batch, sizeof *f->images);
    for (int i = 0; i < batch; i++) {
        f->images[i] = f->pixels + (size_t)i * bytes;
        net_fixture_identity_item(&f->items[i]);
    }
    f->scalars = (struct step_scalars){
        .seed = 7, .step = 1, .lr = 1e-3, .backbone_lr = 1e-4};
}

void net_fixture_close(struct net_fixture *f)
{
    OPS(f)->net_free(f->net);
    OPS(f)->free(&f->backend, &f->exchange);
    weights_free(&f->backend, &f->weights);
    backend_close(&f->backend);
    free(f->items);
    free(f->pixels);
    free(f->images);
}

void net_fixture_identity_item(struct batch_item *item)
{
    *item = (struct batch_item){.warp = {1, 0, 0, 0, 1, 0},
                                .color = {1, 1, 1, 0},
                                .order = {0, 1, 2, 3}};
}

static void fill_weights(struct net_fixture *f, uint64_t seed)
{
    const struct graph *g = f->graph;
    float *params = xcalloc(g->n_params + 1, sizeof(float));
    float *stats = xcalloc(g->n_stats + 1, sizeof(float));
    init_all(g, seed, params, stats);
    for (int i = 0; i < g->n_param_tensors; i++) {
        const struct graph_tensor *t = &g->params[i];
        if (t->init != GRAPH_INIT_ONE && t->init != GRAPH_INIT_ZERO)
            continue;
        for (size_t k = 0; k < t->count; k++)
            params[t->offset + k] +=
                (float)(0.3 * rng_normal(seed, RNG_TEST, 1,
                                         (uint32_t)(t->offset + k)));
    }
    for (size_t k = 0; k < g->n_stats; k++)
        stats[k] += (float)(0.3 * rng_uniform(seed, RNG_TEST, 2, (uint32_t)k));
    OK(OPS(f)->put(&f->backend, g, &f->weights.param, params));
    OK(OPS(f)->put(&f->backend, g, &f->weights.stats, stats));
    f->weights.version++;
    free(params);
    free(stats);
}

void net_fixture_fill(struct net_fixture *f, uint64_t seed)
{
    fill_weights(f, seed);
    size_t n = (size_t)f->batch * graph_node_count(&f->graph->nodes[0]);
    for (size_t i = 0; i < n; i++)
        f->pixels[i] =
            (uint8_t)(256 * rng_uniform(seed, RNG_TEST, 3, (uint32_t)i));
    const struct graph_loss *loss = &f->graph->loss;
    for (int i = 0; i < f->batch; i++) {
        struct batch_item *item = &f->items[i];
        uint64_t at = 4 + (uint64_t)i;
        item->position = (uint64_t)i;
        item->index = i;
        item->class =
            (int32_t)(loss->classes * rng_uniform(seed, RNG_TEST, at, 0));
        for (uint32_t k = 0; k < 4; k++)
            item->box[k] =
                (float)(loss->size * rng_uniform(seed, RNG_TEST, at, 1 + k));
    }
}

void net_fixture_reset(struct net_fixture *f)
{
    float *zeros = xcalloc(f->weights.m.n + 1, sizeof *zeros);
    struct buf *moments[] = {&f->weights.m, &f->weights.v};
    net_fixture_fill(f, 3);
    for (int i = 0; i < 2; i++)
        OK(OPS(f)->put(&f->backend, f->graph, moments[i], zeros));
    free(zeros);
}

/* ---- steps ---- */

static enum vd_err record_range(void *ctx, struct range range)
{
    struct net_fixture *f = ctx;
    assert_true(f->n_ranges < FIXTURE_MAX_RANGES);
    f->ranges[f->n_ranges++] = range;
    return VD_OK;
}

void net_fixture_stage(struct net_fixture *f)
{
    struct batch batch = {f->items, f->images, f->scalars};
    OK(OPS(f)->stage(f->net, &batch));
}

void net_fixture_forward(struct net_fixture *f)
{
    bool replayed;
    OK(OPS(f)->begin(f->net, 0, &replayed));
    if (!replayed)
        OK(OPS(f)->forward(f->net));
    OK(OPS(f)->end(f->net));
}

void net_fixture_backward(struct net_fixture *f)
{
    bool replayed;
    f->n_ranges = 0;
    OK(OPS(f)->begin(f->net, 1, &replayed));
    if (!replayed) {
        OK(OPS(f)->forward(f->net));
        OK(OPS(f)->backward(f->net, &f->exchange, record_range, f));
    }
    OK(OPS(f)->end(f->net));
}

void net_fixture_backward_only(struct net_fixture *f)
{
    bool replayed;
    f->n_ranges = 0;
    OK(OPS(f)->begin(f->net, 3, &replayed));
    if (!replayed)
        OK(OPS(f)->backward(f->net, &f->exchange, record_range, f));
    OK(OPS(f)->end(f->net));
}

void net_fixture_launch_update(struct net_fixture *f)
{
    bool replayed;
    OK(OPS(f)->begin(f->net, 2, &replayed));
    if (!replayed)
        OK(OPS(f)->update(f->net, &f->exchange));
    OK(OPS(f)->end(f->net));
}

struct update_result net_fixture_update(struct net_fixture *f)
{
    struct update_result update;
    net_fixture_launch_update(f);
    OK(OPS(f)->update_result(f->net, &update));
    return update;
}

void net_fixture_results(struct net_fixture *f, struct result *out)
{
    OK(OPS(f)->results(f->net, out));
}

/* ---- copies of buffers and nodes ---- */

float *net_fixture_get(struct net_fixture *f, const struct buf *buf)
{
    float *out = xcalloc(buf->n + 1, sizeof *out);
    OK(OPS(f)->get(&f->backend, f->graph, out, buf));
    return out;
}

float *net_fixture_state(struct net_fixture *f, size_t *n)
{
    const struct buf *bufs[] = {&f->weights.param, &f->weights.m, &f->weights.v,
                                &f->weights.stats};
    *n = 0;
    float *all = NULL;
    for (int i = 0; i < 4; i++) {
        float *part = net_fixture_get(f, bufs[i]);
        all = realloc(all, (*n + bufs[i]->n) * sizeof *all);
        memcpy(all + *n, part, bufs[i]->n * sizeof *all);
        *n += bufs[i]->n;
        free(part);
    }
    return all;
}

static float *node_copy(struct net_fixture *f, int node,
                        enum vd_err (*read_node)(struct net *, int, float *))
{
    size_t n = (size_t)f->batch * graph_node_count(&f->graph->nodes[node]);
    float *out = xcalloc(n, sizeof *out);
    enum vd_err err = read_node(f->net, node, out);
    if (err == VD_UNSUPPORTED) {
        free(out);
        return NULL;
    }
    OK(err);
    return out;
}

float *net_fixture_value(struct net_fixture *f, int node)
{
    return node_copy(f, node, OPS(f)->node_value);
}

float *net_fixture_grad(struct net_fixture *f, int node)
{
    return node_copy(f, node, OPS(f)->node_grad);
}

double net_fixture_distance(const float *a, const float *b, size_t n)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        apart += d * d;
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart) / (size > 0 ? sqrt(size) : 1);
}
