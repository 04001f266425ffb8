/*
 * Backend ref: buffers, nets and the trivial members of its backend_ops. The
 * passes over the graph are in ref_pass.c, the update in ref_optim.c. Buffers
 * are host memory in canonical layout, so put and get are copies. Nothing is
 * enqueued: each call computes before it returns, begin never replays, and
 * nothing has to wait. A net keeps the value of every node and, in training,
 * the gradient from first_trainable on; no node reuses the memory of another,
 * so tests can read them all.
 */
#include "backend/ref/ref.h"

#include "backend/pixels.h"
#include "backend/ref/ref_optim.h"
#include "backend/ref/ref_pass.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* ---- the backend and its buffers ---- */

static enum vd_err ref_open(struct backend *b,
                            const struct backend_config *config)
{
    (void)config;
    b->impl = NULL;
    return VD_OK;
}

static void ref_close(struct backend *b)
{
    (void)b;
}

static const char *ref_unavailable(void)
{
    return NULL;
}

static const char *ref_describe(struct backend *b)
{
    (void)b;
    return "plain loops in double, slow";
}

static const char *ref_device_id(struct backend *b)
{
    (void)b;
    return NULL;
}

static enum vd_err ref_alloc(struct backend *b, const struct graph *g,
                             enum buf_kind kind, struct buf *out)
{
    (void)b;
    void *data;
    size_t n = backend_buf_count(g, kind);
    VD_TRY(alloc_aligned(&data, n, sizeof(float), "weights"));
    *out = (struct buf){kind, data, n};
    return VD_OK;
}

static void ref_free(struct backend *b, struct buf *buf)
{
    (void)b;
    alloc_aligned_free(buf->data);
    *buf = (struct buf){.data = NULL};
}

static enum vd_err ref_put(struct backend *b, const struct graph *g,
                           struct buf *dst, const float *src)
{
    (void)b;
    (void)g;
    memcpy(dst->data, src, dst->n * sizeof *src);
    return VD_OK;
}

static enum vd_err ref_get(struct backend *b, const struct graph *g, float *dst,
                           const struct buf *src)
{
    (void)b;
    (void)g;
    memcpy(dst, src->data, src->n * sizeof *dst);
    return VD_OK;
}

static void ref_pin(struct backend *b, void *memory, size_t bytes)
{
    (void)b;
    (void)memory;
    (void)bytes;
}

static void ref_unpin(struct backend *b, void *memory)
{
    (void)b;
    (void)memory;
}

/* ---- nets ---- */

static void ref_net_free(struct net *net)
{
    if (!net)
        return;
    for (int i = 0; net->nodes && i < net->graph->n_nodes; i++) {
        alloc_aligned_free(net->nodes[i].value);
        alloc_aligned_free(net->nodes[i].grad);
        free(net->nodes[i].mean);
        free(net->nodes[i].inv_std);
        free(net->nodes[i].unbiased);
    }
    staging_clear(&net->staging);
    result_queue_clear(&net->unread);
    free(net->nodes);
    free(net->dropout_mask);
    alloc_aligned_free(net->param);
    alloc_aligned_free(net->grad_param);
    free(net);
}

static enum vd_err alloc_doubles(double **out, size_t n)
{
    void *p;
    VD_TRY(alloc_aligned(&p, n, sizeof(double), "the network's values"));
    *out = p;
    return VD_OK;
}

static enum vd_err alloc_node(struct net *net, int i)
{
    const struct graph_node *node = &net->graph->nodes[i];
    struct node_data *data = &net->nodes[i];
    size_t n = (size_t)net->spec.micro_batch * graph_node_count(node);
    VD_TRY(alloc_doubles(&data->value, n));
    if (net->spec.mode == NET_TRAIN && i >= net->graph->first_trainable)
        VD_TRY(alloc_doubles(&data->grad, n));
    if (node->op == GRAPH_NORM) {
        data->mean = xcalloc((size_t)node->c, sizeof(double));
        data->inv_std = xcalloc((size_t)node->c, sizeof(double));
        data->unbiased = xcalloc((size_t)node->c, sizeof(double));
    }
    return VD_OK;
}

/* All nodes share the scratch arrays, so the largest node sets their sizes. */
static enum vd_err alloc_scratch(struct net *net)
{
    const struct graph *g = net->graph;
    size_t max_values = 1, max_params = 1;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        size_t n = graph_node_count(node);
        if (n > max_values)
            max_values = n;
        n = graph_node_params(g, node);
        if (n > max_params)
            max_params = n;
    }
    net->dropout_mask = xcalloc(max_values, 1);
    VD_TRY(alloc_doubles(&net->param, max_params));
    return alloc_doubles(&net->grad_param, max_params);
}

static enum vd_err ref_net_new(struct backend *b, const struct net_spec *spec,
                               struct net **out)
{
    (void)b;
    VD_TRY(backend_check_spec(spec));
    const struct graph *g = spec->graph;
    struct net *net = xcalloc(1, sizeof *net);
    net->spec = *spec;
    net->graph = g;
    net->nodes = xcalloc((size_t)g->n_nodes, sizeof *net->nodes);
    enum vd_err err;
    size_t image_bytes = graph_node_count(&g->nodes[0]) * sizeof(double);
    VD_TRY_GOTO(out, err, staging_init(&net->staging, &net->spec, image_bytes));
    result_queue_init(&net->unread, &net->spec);
    for (int i = 0; i < g->n_nodes; i++)
        VD_TRY_GOTO(out, err, alloc_node(net, i));
    VD_TRY_GOTO(out, err, alloc_scratch(net));
    *out = net;
    return VD_OK;
out:
    ref_net_free(net);
    return err;
}

/* ---- steps and results ---- */

static void ref_prepare_input(const struct net_spec *spec,
                              const struct batch_item *item,
                              const uint8_t *pixels, void *input)
{
    pixels_to_input(item, pixels, spec->graph->nodes[0].h, spec->mean,
                    spec->std, input);
}

static enum vd_err ref_stage(struct net *net, const struct batch *batch)
{
    staging_push(&net->staging, batch, ref_prepare_input);
    return VD_OK;
}

static enum vd_err ref_begin(struct net *net, int key, bool *replayed)
{
    (void)net;
    (void)key;
    *replayed = false;
    return VD_OK;
}

static enum vd_err ref_end(struct net *net)
{
    (void)net;
    return VD_OK;
}

static void ref_cancel(struct net *net)
{
    (void)net;
}

static enum vd_err ref_release_workspace(struct net *net)
{
    (void)net;
    return VD_OK;
}

static enum vd_err ref_add(struct net *net, struct buf *dst,
                           const struct buf *src, struct range range)
{
    (void)net;
    VD_ASSERT(range.first + range.n <= dst->n && dst->n == src->n);
    for (size_t i = range.first; i < range.first + range.n; i++)
        dst->data[i] += src->data[i];
    return VD_OK;
}

static enum vd_err ref_divide(struct net *net, struct buf *buf,
                              struct range range, float by)
{
    (void)net;
    VD_ASSERT(range.first + range.n <= buf->n);
    for (size_t i = range.first; i < range.first + range.n; i++)
        buf->data[i] /= by;
    return VD_OK;
}

static enum vd_err ref_done(struct net *net, bool *done)
{
    (void)net;
    *done = true;
    return VD_OK;
}

static enum vd_err ref_results(struct net *net, struct result *out)
{
    result_queue_pop(&net->unread, out);
    return VD_OK;
}

static enum vd_err ref_update_result(struct net *net, struct update_result *out)
{
    result_queue_pop_update(&net->unread, out);
    return VD_OK;
}

static enum vd_err ref_copy_node(const struct net *net, int node,
                                 const double *from, float *out)
{
    VD_ASSERT(node >= 0 && node < net->graph->n_nodes && from);
    size_t n = (size_t)net->spec.micro_batch *
               graph_node_count(&net->graph->nodes[node]);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)from[i];
    return VD_OK;
}

static enum vd_err ref_node_value(struct net *net, int node, float *out)
{
    return ref_copy_node(net, node, net->nodes[node].value, out);
}

static enum vd_err ref_node_grad(struct net *net, int node, float *out)
{
    return ref_copy_node(net, node, net->nodes[node].grad, out);
}

const struct backend_ops backend_ref_ops = {
    .name = "ref",
    .caps = BACKEND_HOST_MEMORY,
    .precisions = 1u << BACKEND_FP32,
    .depth = 1,
    .max_eval_nets = 0,
    .unavailable = ref_unavailable,
    .open = ref_open,
    .close = ref_close,
    .describe = ref_describe,
    .device_id = ref_device_id,
    .alloc = ref_alloc,
    .free = ref_free,
    .put = ref_put,
    .get = ref_get,
    .pin = ref_pin,
    .unpin = ref_unpin,
    .tune = backend_cannot_tune,
    .net_new = ref_net_new,
    .net_free = ref_net_free,
    .release_workspace = ref_release_workspace,
    .stage = ref_stage,
    .begin = ref_begin,
    .forward = ref_forward,
    .backward = ref_backward,
    .add = ref_add,
    .divide = ref_divide,
    .update = ref_update,
    .end = ref_end,
    .cancel = ref_cancel,
    .done = ref_done,
    .results = ref_results,
    .update_result = ref_update_result,
    .node_value = ref_node_value,
    .node_grad = ref_node_grad,
};
