#include "backend/rig.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/init.h"

#define OPS(r)   ((r)->backend.ops)
#define OK(call) assert_int_equal((call), VD_OK)

struct optim rig_adam(void)
{
    return (struct optim){
        .rule = OPTIM_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
}

void rig_open(struct rig *r, const char *backend, const struct graph *g,
              int batch, enum net_mode mode, const struct optim *optim)
{
    *r = (struct rig){.graph = g, .batch = batch};
    struct backend_config config = {.local_rank = 0, .tune = "off"};
    OK(backend_open(&r->backend, backend, &config));
    OK(weights_alloc(&r->backend, g, &r->weights));
    OK(OPS(r)->alloc(&r->backend, g, BUF_EXCHANGE, &r->exchange));
    struct net_spec spec = {.graph = g,
                            .weights = &r->weights,
                            .micro_batch = batch,
                            .mode = mode,
                            .threads = 1,
                            .optim = *optim,
                            .std = {1, 1, 1}};
    OK(OPS(r)->net_new(&r->backend, &spec, &r->net));
    size_t bytes = graph_node_count(&g->nodes[0]);
    r->slots = mem_new((size_t)batch, sizeof *r->slots);
    r->pixels = mem_new((size_t)batch, bytes);
    r->places = mem_new((size_t)batch, sizeof *r->places);
    for (int i = 0; i < batch; i++) {
        r->places[i] = r->pixels + (size_t)i * bytes;
        rig_plain_slot(&r->slots[i]);
    }
    r->knobs =
        (struct knobs){.seed = 7, .step = 1, .lr = 1e-3, .backbone_lr = 1e-4};
}

void rig_close(struct rig *r)
{
    OPS(r)->net_free(r->net);
    OPS(r)->free(&r->backend, &r->exchange);
    weights_free(&r->backend, &r->weights);
    backend_close(&r->backend);
    free(r->slots);
    free(r->pixels);
    free(r->places);
}

void rig_plain_slot(struct slot *slot)
{
    *slot = (struct slot){.warp = {1, 0, 0, 0, 1, 0},
                          .color = {1, 1, 1, 0},
                          .order = {0, 1, 2, 3}};
}

static void fill_weights(struct rig *r, uint64_t seed)
{
    const struct graph *g = r->graph;
    float *params = mem_new(g->n_params + 1, sizeof(float));
    float *stats = mem_new(g->n_stats + 1, sizeof(float));
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
    OK(OPS(r)->put(&r->backend, g, &r->weights.param, params));
    OK(OPS(r)->put(&r->backend, g, &r->weights.stats, stats));
    r->weights.version++;
    free(params);
    free(stats);
}

void rig_fill(struct rig *r, uint64_t seed)
{
    fill_weights(r, seed);
    size_t n = (size_t)r->batch * graph_node_count(&r->graph->nodes[0]);
    for (size_t i = 0; i < n; i++)
        r->pixels[i] =
            (uint8_t)(256 * rng_uniform(seed, RNG_TEST, 3, (uint32_t)i));
    const struct graph_loss *loss = &r->graph->loss;
    for (int i = 0; i < r->batch; i++) {
        struct slot *slot = &r->slots[i];
        uint64_t at = 4 + (uint64_t)i;
        slot->position = (uint64_t)i;
        slot->sample = i;
        slot->class =
            (int32_t)(loss->classes * rng_uniform(seed, RNG_TEST, at, 0));
        for (uint32_t k = 0; k < 4; k++)
            slot->box[k] =
                (float)(loss->size * rng_uniform(seed, RNG_TEST, at, 1 + k));
    }
}

/* ---- steps ---- */

static enum vd_err note_range(void *ctx, struct range range)
{
    struct rig *r = ctx;
    assert_true(r->n_ranges < RIG_MAX_RANGES);
    r->ranges[r->n_ranges++] = range;
    return VD_OK;
}

void rig_stage(struct rig *r)
{
    struct batch batch = {r->slots, r->places, r->knobs};
    OK(OPS(r)->stage(r->net, &batch));
}

void rig_forward(struct rig *r)
{
    bool replayed;
    OK(OPS(r)->begin(r->net, 0, &replayed));
    if (!replayed)
        OK(OPS(r)->forward(r->net));
    OK(OPS(r)->end(r->net));
}

void rig_backward(struct rig *r)
{
    bool replayed;
    r->n_ranges = 0;
    OK(OPS(r)->begin(r->net, 1, &replayed));
    if (!replayed) {
        OK(OPS(r)->forward(r->net));
        OK(OPS(r)->backward(r->net, &r->exchange, note_range, r));
    }
    OK(OPS(r)->end(r->net));
}

void rig_update(struct rig *r)
{
    bool replayed;
    OK(OPS(r)->begin(r->net, 2, &replayed));
    if (!replayed)
        OK(OPS(r)->update(r->net, &r->exchange));
    OK(OPS(r)->end(r->net));
}

void rig_results(struct rig *r, struct result *out)
{
    OK(OPS(r)->results(r->net, out));
}

/* ---- looking inside ---- */

float *rig_get(struct rig *r, const struct buf *buf)
{
    float *out = mem_new(buf->n + 1, sizeof *out);
    OK(OPS(r)->get(&r->backend, r->graph, out, buf));
    return out;
}

static float *node_copy(struct rig *r, int node,
                        enum vd_err (*ask)(struct net *, int, float *))
{
    size_t n = (size_t)r->batch * graph_node_count(&r->graph->nodes[node]);
    float *out = mem_new(n, sizeof *out);
    enum vd_err err = ask(r->net, node, out);
    if (err == VD_UNSUPPORTED) {
        free(out);
        return NULL;
    }
    OK(err);
    return out;
}

float *rig_value(struct rig *r, int node)
{
    return node_copy(r, node, OPS(r)->node_value);
}

float *rig_grad(struct rig *r, int node)
{
    return node_copy(r, node, OPS(r)->node_grad);
}

double rig_distance(const float *a, const float *b, size_t n)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        apart += d * d;
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart) / (size > 0 ? sqrt(size) : 1);
}
