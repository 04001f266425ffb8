/*
 * Runs a backend on inputs that oracle.py wrote and writes the outputs to raw
 * files, which oracle.py compares with PyTorch.
 *
 *     oracle_driver dir=FOLDER backend=ref mode=train size=64 ...
 *
 * weights=FILE replaces initial weights (of `seed`), as vocdist does. every=N
 * limits the large files. All files are in the folder. Input:
 *     pixels.u8        [steps, batch, size, size, 3]
 *     batch_items.txt  a line per image: position class box[4] warp[6]
 *                      color[4] order[4]
 */
#include "backend/backend.h"
#include "base/alloc.h"
#include "model/init.h"
#include "model/resnet.h"
#include "model/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Output, all float32 in canonical layout; K is the step, from 1 on. The state
 * is also written as K = 0, before the first step.
 *     table.txt      a line per tensor: param|stats name trainable offset dims
 *     input-K.f32    the network's input
 *     y-K.f32        the values of the last linear layer
 *     results-K.f32  [batch, 2]: l1 and ce
 *     stats-K.f32    state, if the step updates (train, unless update=0)
 *     params-K.f32   state, with stats-K.f32 if N divides K
 *     m-K.f32 v-K.f32  with params-K.f32 (train)
 *     grad-K.f32     the exchange buffer (train), if N divides K - 1
 */
struct driver {
    char **args;
    int n_args;
    const char *dir;
    struct resnet_spec resnet;
    struct graph graph;
    struct backend backend;
    struct weights weights;
    struct buf exchange;
    struct net *net;
    int batch, steps, every;
    bool trains, updates;
    struct batch_item *items; /* of all steps */
    uint8_t *pixels;
};

/* ---- arguments and files ---- */

static const char *text_of(const struct driver *d, const char *key,
                           const char *fallback)
{
    size_t n = strlen(key);
    for (int i = 1; i < d->n_args; i++) {
        if (strncmp(d->args[i], key, n) == 0 && d->args[i][n] == '=')
            return d->args[i] + n + 1;
    }
    return fallback;
}

static double number_of(const struct driver *d, const char *key,
                        double fallback)
{
    const char *text = text_of(d, key, NULL);
    return text ? strtod(text, NULL) : fallback;
}

static int whole_of(const struct driver *d, const char *key, int fallback)
{
    return (int)number_of(d, key, fallback);
}

static FILE *open_file(const struct driver *d, const char *name,
                       const char *mode)
{
    char *path = xasprintf("%s/%s", d->dir, name);
    FILE *f = fopen(path, mode);
    free(path);
    return f;
}

static enum vd_err read_file(const struct driver *d, const char *name, void *to,
                             size_t bytes)
{
    FILE *f = open_file(d, name, "rb");
    size_t n = f ? fread(to, 1, bytes, f) : 0;
    if (f)
        fclose(f);
    if (n != bytes)
        return VD_FAIL(VD_DATA, "%s: %zu of %zu bytes read", name, n, bytes);
    return VD_OK;
}

static enum vd_err write_floats(const struct driver *d, const char *what,
                                int step, const float *values, size_t n)
{
    char *name = xasprintf("%s-%d.f32", what, step);
    FILE *f = open_file(d, name, "wb");
    bool ok = f && fwrite(values, sizeof *values, n, f) == n;
    if (f && fclose(f) != 0)
        ok = false;
    enum vd_err err = ok ? VD_OK : VD_FAIL(VD_IO, "%s: not written", name);
    free(name);
    return err;
}

static enum vd_err write_table(const struct driver *d)
{
    const struct graph *g = &d->graph;
    FILE *f = open_file(d, "table.txt", "w");
    if (!f)
        return VD_FAIL(VD_IO, "table.txt: not written");
    for (int i = 0; i < g->n_param_tensors + g->n_stats_tensors; i++) {
        bool is_param = i < g->n_param_tensors;
        const struct graph_tensor *t =
            is_param ? &g->params[i] : &g->stats[i - g->n_param_tensors];
        fprintf(f, "%s %s %d %zu", is_param ? "param" : "stats", t->name,
                t->trainable, t->offset);
        for (int k = 0; k < t->n_dims; k++)
            fprintf(f, " %d", t->dims[k]);
        fprintf(f, "\n");
    }
    return fclose(f) == 0 ? VD_OK : VD_FAIL(VD_IO, "table.txt: not written");
}

static bool read_item(FILE *f, struct batch_item *item, int64_t index)
{
    unsigned o[4];
    item->index = index;
    bool ok =
        fscanf(f, "%" SCNu64 " %" SCNd32, &item->position, &item->class) == 2;
    for (int i = 0; i < 4; i++)
        ok = ok && fscanf(f, "%f", &item->box[i]) == 1;
    for (int i = 0; i < 6; i++)
        ok = ok && fscanf(f, "%f", &item->warp[i]) == 1;
    for (int i = 0; i < 4; i++)
        ok = ok && fscanf(f, "%f", &item->color[i]) == 1;
    for (int i = 0; ok && i < 4; i++) {
        ok = fscanf(f, "%u", &o[i]) == 1;
        item->order[i] = (uint8_t)o[i];
    }
    return ok;
}

static enum vd_err read_batches(struct driver *d)
{
    size_t n = (size_t)d->steps * (size_t)d->batch;
    size_t bytes = graph_node_count(&d->graph.nodes[0]);
    d->items = xcalloc(n, sizeof *d->items);
    d->pixels = xcalloc(n, bytes);
    FILE *f = open_file(d, "batch_items.txt", "r");
    bool ok = f != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = read_item(f, &d->items[i], (int64_t)i);
    if (f)
        fclose(f);
    if (!ok)
        return VD_FAIL(VD_DATA, "batch_items.txt: malformed");
    return read_file(d, "pixels.u8", d->pixels, n * bytes);
}

/* ---- the net ---- */

static enum vd_err driver_build_graph(struct driver *d)
{
    struct resnet_spec *r = &d->resnet;
    r->size = whole_of(d, "size", 64);
    r->width = whole_of(d, "width", 8);
    const char *blocks = text_of(d, "blocks", "1,1,1,1");
    if (sscanf(blocks, "%d,%d,%d,%d", &r->blocks[0], &r->blocks[1],
               &r->blocks[2], &r->blocks[3]) != 4)
        return VD_FAIL(VD_USAGE, "blocks=%s: not four numbers", blocks);
    r->head_dropout = number_of(d, "dropout", 0);
    r->freeze = (enum resnet_freeze)whole_of(d, "freeze", 0);
    r->fixed_norms = whole_of(d, "bn_eval", 0);
    r->loss = (struct graph_loss){.classes = whole_of(d, "classes", 20),
                                  .box_scale = 1,
                                  .class_scale = 25};
    VD_TRY(resnet_check(r));
    resnet_build(&d->graph, r);
    return VD_OK;
}

static enum optim_rule rule_of(const char *name)
{
    if (strcmp(name, "adamw") == 0)
        return OPTIM_ADAMW;
    return strcmp(name, "sgd") == 0 ? OPTIM_SGD : OPTIM_ADAM;
}

static enum vd_err make_net(struct driver *d)
{
    struct backend_config config = {.local_rank = 0};
    VD_TRY(backend_open(&d->backend, text_of(d, "backend", "ref"), &config));
    const struct backend_ops *ops = d->backend.ops;
    VD_TRY(weights_alloc(&d->backend, &d->graph, &d->weights));
    VD_TRY(ops->alloc(&d->backend, &d->graph, BUF_EXCHANGE, &d->exchange));
    struct net_spec spec = {
        .graph = &d->graph,
        .weights = &d->weights,
        .micro_batch = d->batch,
        .mode = d->trains ? NET_TRAIN : NET_EVAL,
        .threads = whole_of(d, "threads", 1),
        .optim = {.rule = rule_of(text_of(d, "rule", "adam")),
                  .beta1 = number_of(d, "beta1", 0.9),
                  .beta2 = number_of(d, "beta2", 0.999),
                  .eps = number_of(d, "eps", 1e-8),
                  .weight_decay = number_of(d, "weight_decay", 0),
                  .momentum = number_of(d, "momentum", 0),
                  .clip_norm = number_of(d, "clip", 0)},
        .std = {1, 1, 1}};
    return ops->net_new(&d->backend, &spec, &d->net);
}

static enum vd_err load_weights(struct driver *d)
{
    const struct graph *g = &d->graph;
    const struct backend_ops *ops = d->backend.ops;
    const char *path = text_of(d, "weights", NULL);
    float *params = xcalloc(g->n_params, sizeof *params);
    float *stats = xcalloc(g->n_stats, sizeof *stats);
    struct weights_report report = {0};
    enum vd_err err = VD_OK;
    init_all(g, (uint64_t)whole_of(d, "seed", 1), params, stats);
    if (path)
        VD_TRY_GOTO(out, err,
                    weights_load(g, path, false, params, stats, &report));
    VD_TRY_GOTO(out, err, ops->put(&d->backend, g, &d->weights.param, params));
    VD_TRY_GOTO(out, err, ops->put(&d->backend, g, &d->weights.stats, stats));
    d->weights.version++;
out:
    weights_report_clear(&report);
    free(params);
    free(stats);
    return err;
}

/* ---- steps ---- */

static enum vd_err write_buf(struct driver *d, const char *what, int step,
                             const struct buf *buf)
{
    float *values = xcalloc(buf->n + 1, sizeof *values);
    enum vd_err err = d->backend.ops->get(&d->backend, &d->graph, values, buf);
    if (!err)
        err = write_floats(d, what, step, values, buf->n);
    free(values);
    return err;
}

static enum vd_err write_node(struct driver *d, const char *what, int step,
                              int node)
{
    size_t n = (size_t)d->batch * graph_node_count(&d->graph.nodes[node]);
    float *values = xcalloc(n, sizeof *values);
    enum vd_err err = d->backend.ops->node_value(d->net, node, values);
    if (!err)
        err = write_floats(d, what, step, values, n);
    free(values);
    return err;
}

static enum vd_err write_state(struct driver *d, int step)
{
    VD_TRY(write_buf(d, "stats", step, &d->weights.stats));
    if (step % d->every != 0)
        return VD_OK;
    VD_TRY(write_buf(d, "params", step, &d->weights.param));
    if (!d->trains)
        return VD_OK;
    VD_TRY(write_buf(d, "m", step, &d->weights.m));
    return write_buf(d, "v", step, &d->weights.v);
}

static enum vd_err write_results(struct driver *d, int step)
{
    size_t n = (size_t)d->batch;
    struct result *results = xcalloc(n, sizeof *results);
    float *values = xcalloc(2 * n, sizeof *values);
    enum vd_err err = d->backend.ops->results(d->net, results);
    for (size_t i = 0; i < n; i++) {
        values[2 * i] = results[i].l1;
        values[2 * i + 1] = results[i].ce;
    }
    if (!err)
        err = write_floats(d, "results", step, values, 2 * n);
    free(results);
    free(values);
    return err;
}

static enum vd_err driver_ignore_range(void *ctx, struct range range)
{
    (void)ctx;
    (void)range;
    return VD_OK;
}

static enum vd_err driver_stage(struct driver *d, int step)
{
    size_t first = (size_t)(step - 1) * (size_t)d->batch;
    size_t bytes = graph_node_count(&d->graph.nodes[0]);
    const uint8_t **pixels = xcalloc((size_t)d->batch, sizeof *pixels);
    for (size_t i = 0; i < (size_t)d->batch; i++)
        pixels[i] = d->pixels + (first + i) * bytes;
    struct batch batch = {d->items + first,
                          pixels,
                          {.seed = (uint64_t)whole_of(d, "seed", 1),
                           .step = (uint64_t)step,
                           .lr = number_of(d, "lr", 1e-3),
                           .backbone_lr = number_of(d, "backbone_lr", 1e-3)}};
    enum vd_err err = d->backend.ops->stage(d->net, &batch);
    free(pixels);
    return err;
}

static enum vd_err driver_run_step(struct driver *d, int step)
{
    const struct backend_ops *ops = d->backend.ops;
    bool replayed;
    VD_TRY(driver_stage(d, step));
    VD_TRY(ops->begin(d->net, 0, &replayed));
    if (!replayed) {
        VD_TRY(ops->forward(d->net));
        if (d->trains)
            VD_TRY(
                ops->backward(d->net, &d->exchange, driver_ignore_range, NULL));
        if (d->updates)
            VD_TRY(ops->update(d->net, &d->exchange));
    }
    VD_TRY(ops->end(d->net));
    struct update_result update;
    if (d->updates)
        VD_TRY(ops->update_result(d->net, &update));
    VD_TRY(write_results(d, step));
    VD_TRY(write_node(d, "input", step, 0));
    VD_TRY(write_node(d, "y", step, d->graph.n_nodes - 2));
    if (d->trains && (step - 1) % d->every == 0)
        VD_TRY(write_buf(d, "grad", step, &d->exchange));
    return d->updates ? write_state(d, step) : VD_OK;
}

static enum vd_err driver_run(struct driver *d)
{
    d->dir = text_of(d, "dir", ".");
    d->batch = whole_of(d, "batch", 4);
    d->steps = whole_of(d, "steps", 1);
    d->every = whole_of(d, "every", 1);
    d->trains = strcmp(text_of(d, "mode", "train"), "train") == 0;
    d->updates = d->trains && whole_of(d, "update", 1);
    VD_TRY(driver_build_graph(d));
    VD_TRY(write_table(d));
    VD_TRY(read_batches(d));
    VD_TRY(make_net(d));
    VD_TRY(load_weights(d));
    VD_TRY(write_state(d, 0));
    for (int step = 1; step <= d->steps; step++)
        VD_TRY(driver_run_step(d, step));
    return VD_OK;
}

int main(int argc, char **argv)
{
    struct driver d = {.args = argv, .n_args = argc};
    graph_init(&d.graph);
    enum vd_err err = driver_run(&d);
    if (d.backend.ops) {
        d.backend.ops->net_free(d.net);
        d.backend.ops->free(&d.backend, &d.exchange);
        weights_free(&d.backend, &d.weights);
        backend_close(&d.backend);
    }
    free(d.items);
    free(d.pixels);
    graph_clear(&d.graph);
    return err_exit_code(err);
}
