/*
 * Forward and backward over the whole graph.
 *
 * Forward walks the nodes in order. Each node's value is filled with NaN before
 * it is computed. Backward writes the batch statistics and the non-finite flag
 * first, then walks the nodes in reverse. Every gradient starts at 0 and
 * accumulates over the node's readers, which all come before the node in this
 * order; the loss's own gradient is 1 / micro_batch per image (mean over the
 * micro-batch), times the loss scale. Parameters are in backward order
 * (model/graph.h), so `ready` sees ascending ranges.
 */
#include "backend/ref/ref_pass.h"

#include "backend/ref/layers.h"
#include "backend/scaler.h"

#include <math.h>
#include <string.h>

static void fill_doubles(double *p, size_t n, double value)
{
    for (size_t i = 0; i < n; i++)
        p[i] = value;
}

static size_t node_values(const struct net *net, int node)
{
    return (size_t)net->spec.micro_batch *
           graph_node_count(&net->graph->nodes[node]);
}

/* Copies the node's tensors as double: weight, then bias, as in the buffer. */
static void load_params(const struct net *net, struct layer *l)
{
    size_t n = graph_node_params(net->graph, l->node);
    if (n == 0)
        return;
    const struct graph_tensor *t = &net->graph->params[l->node->param];
    const float *from = net->spec.weights->param.data + t->offset;
    for (size_t i = 0; i < n; i++)
        net->param[i] = (double)from[i];
    l->weight = net->param;
    l->bias = net->param + t->count; /* not used by a convolution */
}

/* The arguments of node i. They share net->param: valid until the next call. */
static struct layer layer_of(struct net *net, int i)
{
    const struct graph_node *node = &net->graph->nodes[i];
    const struct node_data *data = &net->nodes[i];
    const struct staged_batch *staged = staging_current(&net->staging);
    struct layer l = {.graph = net->graph,
                      .node = node,
                      .batch = net->spec.micro_batch,
                      .training = net->spec.mode == NET_TRAIN,
                      .out = data->value,
                      .grad_out = data->grad,
                      .mean = data->mean,
                      .inv_std = data->inv_std,
                      .unbiased = data->unbiased,
                      .items = staged->items,
                      .seed = net->scalars.seed,
                      .dropout_mask = net->dropout_mask,
                      .results = net->results};
    for (int k = 0; k < 2; k++) {
        if (node->in[k] < 0)
            continue;
        l.in[k] = net->nodes[node->in[k]].value;
        l.grad_in[k] = net->nodes[node->in[k]].grad;
    }
    if (node->in[0] >= 0)
        l.source = &net->graph->nodes[node->in[0]];
    load_params(net, &l);
    return l;
}

/* ---- forward ---- */

/* Loads the running statistics for a norm that does not use the batch's. */
static void load_running(const struct net *net, const struct layer *l)
{
    if (l->node->op != GRAPH_NORM || layer_uses_batch(l))
        return;
    const struct graph_tensor *t = &net->graph->stats[l->node->stats];
    const float *mean = net->spec.weights->stats.data + t[0].offset;
    const float *var = net->spec.weights->stats.data + t[1].offset;
    for (size_t c = 0; c < t[0].count; c++) {
        l->mean[c] = (double)mean[c];
        l->inv_std[c] = 1 / sqrt((double)var[c] + net->graph->norm_eps);
    }
}

enum vd_err ref_forward(struct net *net)
{
    staging_take(&net->staging);
    const struct staged_batch *staged = staging_current(&net->staging);
    net->scalars = staged->scalars;
    net->results = result_queue_push(&net->unread);
    for (int i = 0; i < net->graph->n_nodes; i++) {
        double *value = net->nodes[i].value;
        fill_doubles(value, node_values(net, i), (double)NAN);
        if (net->graph->nodes[i].op == GRAPH_INPUT) {
            memcpy(value, staged->input, node_values(net, i) * sizeof *value);
            continue;
        }
        struct layer l = layer_of(net, i);
        load_running(net, &l);
        layer_forward(&l);
    }
    const double *loss = net->nodes[net->graph->n_nodes - 1].value;
    net->loss_finite = true;
    for (int b = 0; b < net->spec.micro_batch; b++)
        net->loss_finite = net->loss_finite && isfinite(loss[b]);
    if (net->spec.mode == NET_EVAL)
        staging_release(&net->staging);
    return VD_OK;
}

/* ---- backward ---- */

/* Mean and unbiased variance of every norm (0 where fixed), then the non-finite
 * flag. */
static void ref_write_batch_stats(const struct net *net, struct buf *exchange)
{
    const struct graph *g = net->graph;
    float *stats = exchange->data + g->n_trainable;
    for (size_t i = 0; i < g->n_stats; i++)
        stats[i] = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        if (node->op != GRAPH_NORM || node->fixed_norm)
            continue;
        const struct graph_tensor *t = &g->stats[node->stats];
        for (size_t c = 0; c < t[0].count; c++) {
            stats[t[0].offset + c] = (float)net->nodes[i].mean[c];
            stats[t[1].offset + c] = (float)net->nodes[i].unbiased[c];
        }
    }
    stats[g->n_stats] = net->loss_finite ? 0 : 1;
}

/* Backward of one node; reports its parameter gradients as one range. */
static enum vd_err backward_node(struct net *net, int i, struct buf *exchange,
                                 ready_fn *ready, void *ctx)
{
    struct layer l = layer_of(net, i);
    struct range range = {0, graph_node_params(net->graph, l.node)};
    if (range.n) {
        const struct graph_tensor *t = &net->graph->params[l.node->param];
        range.first = t->offset;
        fill_doubles(net->grad_param, range.n, 0);
        l.grad_weight = net->grad_param;
        l.grad_bias = net->grad_param + t->count;
    }
    layer_backward(&l);
    for (size_t k = 0; k < range.n; k++)
        exchange->data[range.first + k] = (float)net->grad_param[k];
    return range.n ? ready(ctx, range) : VD_OK;
}

enum vd_err ref_backward(struct net *net, struct buf *exchange, ready_fn *ready,
                         void *ctx)
{
    const struct graph *g = net->graph;
    VD_ASSERT(net->spec.mode == NET_TRAIN && exchange->kind == BUF_EXCHANGE);
    for (size_t i = 0; i < exchange->n; i++)
        exchange->data[i] = NAN;
    ref_write_batch_stats(net, exchange);
    struct range stats = {g->n_trainable, g->n_stats + 1};
    VD_TRY(ready(ctx, stats));
    for (int i = g->first_trainable; i < g->n_nodes; i++)
        fill_doubles(net->nodes[i].grad, node_values(net, i), 0);
    float scale =
        scaler_scale(net->spec.weights->scaler.data, &net->spec.scaling);
    fill_doubles(net->nodes[g->n_nodes - 1].grad, (size_t)net->spec.micro_batch,
                 (double)scale / net->spec.micro_batch);
    for (int i = g->n_nodes - 1; i >= g->first_trainable; i--) {
        if (g->nodes[i].op != GRAPH_INPUT)
            VD_TRY(backward_node(net, i, exchange, ready, ctx));
    }
    staging_release(&net->staging);
    return VD_OK;
}
