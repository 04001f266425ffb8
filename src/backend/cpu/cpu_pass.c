/*
 * Forward and backward pass: executes the units of the plan in order, backward
 * in reverse order down to the first unit whose value requires a gradient.
 *
 * backward, for each unit:
 *   1. Gradients of its parameters, written into the exchange buffer. A
 *      convolution first recomputes its input if the plan did not keep it.
 *   2. Gradient of its input (and of its residual), which is added to the first
 *      part if the node has several consumers.
 *   3. ready() for the gradients that no remaining unit writes: they are a
 *      growing prefix of the buffer, since tensors are in backward order.
 *
 * Batch statistics and the non-finite flag are ready before the gradients.
 */
#include "backend/cpu/cpu_pass.h"

#include "backend/cpu/cpu_head.h"
#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_net.h"

#include <string.h>

/* ---- element-wise helpers ---- */

static size_t node_area(const struct graph_node *node)
{
    return (size_t)node->h * (size_t)node->w;
}

/* out = a + b; b NULL: out = a. All threads share the work. */
static void add_or_copy(const struct net *net, float *out, const float *a,
                        const float *b, size_t n)
{
    const size_t chunk = (size_t)16 << 10, chunks = (n + chunk - 1) / chunk;
#pragma omp parallel for num_threads(net->spec.threads) schedule(static)
    for (size_t c = 0; c < chunks; c++) {
        size_t at = c * chunk, m = n - at < chunk ? n - at : chunk;
        if (b)
            net->simd->add(out + at, a + at, b + at, m);
        else
            memcpy(out + at, a + at, m * sizeof *out);
    }
}

/* The elements of one image in the node's value. */
static struct range image_range(const struct net *net, int node, int image)
{
    size_t n = net->plan.values[node].n / (size_t)net->spec.micro_batch;
    return (struct range){(size_t)image * n, n};
}

/* ---- forward ---- */

static void forward_norm(struct net *net, const struct plan_unit *u,
                         struct unit *unit)
{
    const struct graph_node *node = &net->graph->nodes[u->node];
    struct norm_forward f = {
        .x = net_value(net, u->in),
        .residual = u->residual >= 0 ? net_value(net, u->residual) : NULL,
        .weight = net_param(net, node->param),
        .bias = net_param(net, node->param + 1),
        .relu = u->relu,
        .y = net_value(net, u->out),
    };
    if (plan_norm_is_static(&net->plan, u->node)) {
        f.running_mean = net_running(net, node->stats);
        f.running_var = net_running(net, node->stats + 1);
    }
    norm_forward(&unit->norm, net->simd, &f);
}

static void forward_relu(struct net *net, const struct plan_unit *u)
{
    const float *x = net_value(net, u->in);
    float *y = net_value(net, u->out);
#pragma omp parallel for num_threads(net->spec.threads) schedule(static)
    for (int i = 0; i < net->spec.micro_batch; i++) {
        struct range r = image_range(net, u->out, i);
        net->simd->relu(y + r.first, x + r.first, r.n);
    }
}

static void forward_flatten(struct net *net, const struct plan_unit *u)
{
    const struct graph_node *from = &net->graph->nodes[u->in];
    const float *x = net_value(net, u->in);
    float *y = net_value(net, u->out);
    if (!net->plan.values[u->in].blocked) {
        add_or_copy(net, y, x, NULL, net->plan.values[u->in].n);
        return;
    }
#pragma omp parallel for num_threads(net->spec.threads) schedule(static)
    for (int i = 0; i < net->spec.micro_batch; i++)
        layout_map_to_plain(1, from->c, node_area(from), net->plan.block,
                            x + image_range(net, u->in, i).first,
                            y + image_range(net, u->out, i).first);
}

static void forward_dropout(struct net *net, const struct plan_unit *u)
{
    const float *x = net_value(net, u->in);
    float *y = net_value(net, u->out);
    size_t n = net->plan.values[u->out].n;
    if (net->spec.mode == NET_EVAL) {
        add_or_copy(net, y, x, NULL, n);
        return;
    }
    const struct plan_value *value = &net->plan.values[u->out];
    const struct staged_batch *staged = staging_current(&net->staging);
    const struct dropout_batch batch = {
        .node = &net->graph->nodes[u->node],
        .n = net->spec.micro_batch,
        .items = staged->items,
        .seed = net->scalars.seed,
        .block = value->blocked ? net->plan.block : 1,
        .padded = n / (size_t)net->spec.micro_batch,
        .threads = net->spec.threads,
        .mask = net->dropout_mask,
    };
    float *factors = u->aux >= 0 ? net_buffer(net, u->aux) : y;
    dropout_draw_factors(&batch, factors);
    net->simd->multiply(y, x, factors, n);
}

/*
 * A ReLU that oneDNN fuses into a convolution turns NaN into 0, so a network
 * whose values overflow would return finite results. By Cauchy-Schwarz, a sum
 * of products and each of its partial sums is at most |x| |w| (Euclidean
 * norms): nothing overflows while both squares are below CONV_OVERFLOW_BOUND.
 * Sets net->overflowed of the images above it; loss_forward() makes their cross
 * entropy NaN.
 */
static void flag_overflow(struct net *net, int i)
{
    const struct plan_unit *u = &net->plan.units[i];
    const float *x = net_value(net, u->in);
    bool always = packed_weights_may_overflow(net->packed_weights, i);
#pragma omp parallel for num_threads(net->spec.threads) schedule(static)
    for (int k = 0; k < net->spec.micro_batch; k++) {
        struct range r = image_range(net, u->in, k);
        if (always ||
            !(net->simd->sum_squares(x + r.first, r.n) < CONV_OVERFLOW_BOUND))
            net->overflowed[k] = true;
    }
}

static enum vd_err forward_conv(struct net *net, int i)
{
    const struct plan_unit *u = &net->plan.units[i];
    const struct unit *unit = &net->units[i];
    int weight = net->graph->nodes[u->node].param;
    if (u->folded_norm >= 0)
        flag_overflow(net, i);
    return dnn_conv_forward(unit->conv, net_value(net, u->in),
                            net_param(net, weight), unit->bias,
                            net_value(net, u->out));
}

static struct loss_batch loss_batch_of(struct net *net,
                                       const struct plan_unit *u)
{
    return (struct loss_batch){
        .loss = &net->graph->loss,
        .n = net->spec.micro_batch,
        .items = staging_current(&net->staging)->items,
        .logits = net_value(net, u->in),
    };
}

static void forward_loss(struct net *net, const struct plan_unit *u)
{
    const struct loss_batch batch = loss_batch_of(net, u);
    net->loss_finite = loss_forward(&batch, net->overflowed,
                                    net_value(net, u->out), net->results);
}

static enum vd_err forward_unit(struct net *net, int i)
{
    const struct plan_unit *u = &net->plan.units[i];
    const struct graph_node *node = &net->graph->nodes[u->node];
    struct unit *unit = &net->units[i];
    const float *in = net_value(net, u->in);
    float *out = net_value(net, u->out);
    dnn_use_scratch(net->dnn, net_buffer(net, u->scratch));
    switch (u->kind) {
    case UNIT_CONV:
        return forward_conv(net, i);
    case UNIT_NORM:
        forward_norm(net, u, unit);
        break;
    case UNIT_RELU:
        forward_relu(net, u);
        break;
    case UNIT_ADD:
        add_or_copy(net, out, in, net_value(net, u->residual),
                    net->plan.values[u->out].n);
        break;
    case UNIT_POOL:
        return dnn_pool_forward(unit->pool, in, out);
    case UNIT_FLATTEN:
        forward_flatten(net, u);
        break;
    case UNIT_DROPOUT:
        forward_dropout(net, u);
        break;
    case UNIT_LINEAR:
        return dnn_linear_forward(unit->linear, in, net_param(net, node->param),
                                  net_param(net, node->param + 1), out);
    case UNIT_LOSS:
        forward_loss(net, u);
        break;
    }
    return VD_OK;
}

static enum vd_err refresh_packed_weights(struct net *net)
{
    dnn_use_scratch(net->dnn, net_buffer(net, net->pack_scratch));
    return packed_weights_refresh(net->packed_weights, &net->plan, net->units,
                                  net->spec.weights,
                                  net_buffer(net, net->folded_weights));
}

enum vd_err cpu_forward(struct net *net)
{
    staging_take(&net->staging);
    net->scalars = staging_current(&net->staging)->scalars;
    net->results = result_queue_push(&net->unread);
    VD_TRY(net_ensure_workspace(net));
    int before = net_set_threads(net->spec.threads);
    enum vd_err err = refresh_packed_weights(net);
    memset(net->overflowed, 0,
           (size_t)net->spec.micro_batch * sizeof *net->overflowed);
    for (int i = 0; !err && i < net->plan.n_units; i++)
        err = forward_unit(net, i);
    net_restore_threads(before);
    if (net->spec.mode == NET_EVAL)
        staging_release(&net->staging);
    return err;
}

/* ---- backward ---- */

static void backward_norm(struct net *net, const struct plan_unit *u,
                          struct unit *unit, float *grads)
{
    const struct graph_node *node = &net->graph->nodes[u->node];
    struct norm_backward b = {
        .strip = {.x = net_value(net, u->in),
                  .g = net_buffer(net, u->grad[0]),
                  .other = net_buffer(net, u->grad[1]),
                  .in_place = plan_norm_masks_in_place(u),
                  .mask = RELU_MASK_NONE},
        .weight = net_param(net, node->param),
        .dx = net_buffer(net, u->grad_in),
    };
    if (u->relu)
        b.strip.mask =
            u->residual >= 0 ? RELU_MASK_FROM_OUTPUT : RELU_MASK_RECOMPUTE;
    if (b.strip.mask == RELU_MASK_FROM_OUTPUT)
        b.strip.y = net_value(net, u->out);
    if (u->trainable) {
        b.weight_grad = grads + net_tensor(net, node->param)->offset;
        b.bias_grad = grads + net_tensor(net, node->param + 1)->offset;
    }
    norm_backward(&unit->norm, net->simd, &b);
}

static void backward_relu(struct net *net, const struct plan_unit *u)
{
    const float *g = net_buffer(net, u->grad[0]), *y = net_value(net, u->out);
    float *dx = net_buffer(net, u->grad_in);
#pragma omp parallel for num_threads(net->spec.threads) schedule(static)
    for (int i = 0; i < net->spec.micro_batch; i++) {
        struct range r = image_range(net, u->out, i);
        net->simd->relu_backward(dx + r.first, g + r.first, y + r.first, r.n);
    }
}

static void backward_loss(struct net *net, const struct plan_unit *u)
{
    const struct loss_batch batch = loss_batch_of(net, u);
    loss_backward(&batch, net_buffer(net, u->grad_in));
}

static void backward_flatten(struct net *net, const struct plan_unit *u)
{
    const struct graph_node *to = &net->graph->nodes[u->in];
    const float *g = net_buffer(net, u->grad[0]);
    float *dx = net_buffer(net, u->grad_in);
    if (!net->plan.values[u->in].blocked) {
        add_or_copy(net, dx, g, NULL, net->plan.values[u->in].n);
        return;
    }
#pragma omp parallel for num_threads(net->spec.threads) schedule(static)
    for (int i = 0; i < net->spec.micro_batch; i++)
        layout_map_to_blocked(1, to->c, node_area(to), net->plan.block,
                              g + image_range(net, u->out, i).first,
                              dx + image_range(net, u->in, i).first);
}

/* The convolution's input in forward: kept, or recomputed from its norm's
 * input. */
static const float *conv_saved_input(struct net *net, const struct plan_unit *u)
{
    if (u->recompute < 0)
        return net_value(net, u->in);
    const struct plan_unit *norm = &net->plan.units[u->recompute];
    float *y = net_buffer(net, u->recompute_value);
    norm_recompute(&net->units[u->recompute].norm, net->simd,
                   net_value(net, norm->in), norm->relu, y);
    return y;
}

static enum vd_err backward_conv(struct net *net, const struct plan_unit *u,
                                 struct unit *unit, float *grads)
{
    int weights = net->graph->nodes[u->node].param;
    const float *g = net_buffer(net, u->grad[0]);
    if (u->trainable)
        VD_TRY(dnn_conv_backward_weights(
            unit->conv, conv_saved_input(net, u), g,
            grads + net_tensor(net, weights)->offset));
    if (u->grad_in < 0)
        return VD_OK;
    return dnn_conv_backward_data(unit->conv, net_param(net, weights), g,
                                  net_buffer(net, u->grad_in));
}

static enum vd_err backward_linear(struct net *net, const struct plan_unit *u,
                                   struct unit *unit, float *grads)
{
    int weights = net->graph->nodes[u->node].param;
    const float *g = net_buffer(net, u->grad[0]);
    if (u->trainable)
        VD_TRY(dnn_linear_backward_weights(
            unit->linear, net_value(net, u->in), g,
            grads + net_tensor(net, weights)->offset,
            grads + net_tensor(net, weights + 1)->offset));
    if (u->grad_in < 0)
        return VD_OK;
    return dnn_linear_backward_data(unit->linear, net_param(net, weights), g,
                                    net_buffer(net, u->grad_in));
}

/* Units without parameters: backward computes the gradients of inputs only. */
static enum vd_err backward_simple(struct net *net, const struct plan_unit *u,
                                   struct unit *unit)
{
    const float *g = net_buffer(net, u->grad[0]);
    float *dx = net_buffer(net, u->grad_in);
    size_t n = net->plan.values[u->out].n;
    if (u->kind == UNIT_ADD && u->grad_residual >= 0)
        add_or_copy(net, net_buffer(net, u->grad_residual), g, NULL, n);
    if (!dx)
        return VD_OK;
    if (u->kind == UNIT_POOL)
        return dnn_pool_backward(unit->pool, g, dx);
    if (u->kind == UNIT_ADD)
        add_or_copy(net, dx, g, NULL, n);
    else if (u->kind == UNIT_RELU)
        backward_relu(net, u);
    else if (u->kind == UNIT_FLATTEN)
        backward_flatten(net, u);
    else if (u->kind == UNIT_DROPOUT)
        net->simd->multiply(dx, g, net_buffer(net, u->aux), n);
    else
        backward_loss(net, u);
    return VD_OK;
}

/* Node with several consumers: adds one part of its gradient to the sum. */
static void accumulate_grad(struct net *net, int sum, int part, int node)
{
    float *to = net_buffer(net, sum);
    if (to)
        add_or_copy(net, to, to, net_buffer(net, part),
                    net->plan.values[node].n);
}

static enum vd_err backward_unit(struct net *net, int i, float *grads)
{
    const struct plan_unit *u = &net->plan.units[i];
    struct unit *unit = &net->units[i];
    dnn_use_scratch(net->dnn, net_buffer(net, u->backward_scratch));
    if (u->kind == UNIT_CONV)
        VD_TRY(backward_conv(net, u, unit, grads));
    else if (u->kind == UNIT_LINEAR)
        VD_TRY(backward_linear(net, u, unit, grads));
    else if (u->kind == UNIT_NORM)
        backward_norm(net, u, unit, grads);
    else
        VD_TRY(backward_simple(net, u, unit));
    accumulate_grad(net, u->grad_in_sum, u->grad_in, u->in);
    accumulate_grad(net, u->grad_residual_sum, u->grad_residual, u->residual);
    return VD_OK;
}

/* Batch statistics of all norms (zeros for fixed ones), then the non-finite
 * flag: [n_stats + 1]. */
static void cpu_write_batch_stats(const struct net *net, float *stats)
{
    const struct graph *g = net->graph;
    memset(stats, 0, g->n_stats * sizeof *stats);
    for (int i = 0; i < net->plan.n_units; i++) {
        const struct plan_unit *u = &net->plan.units[i];
        if (u->kind != UNIT_NORM || plan_norm_is_static(&net->plan, u->node))
            continue;
        const struct graph_tensor *t = &g->stats[g->nodes[u->node].stats];
        const struct norm *m = &net->units[i].norm;
        memcpy(stats + t[0].offset, m->batch_mean, t->count * sizeof *stats);
        memcpy(stats + t[1].offset, m->batch_var, t->count * sizeof *stats);
    }
    stats[g->n_stats] = net->loss_finite ? 0 : 1;
}

/* The first gradient element that units [0, i) have still to write. Tensors
 * are in backward order of the nodes. */
static size_t first_pending_grad(const struct net *net, int i)
{
    size_t until = net->graph->n_trainable;
    for (int k = 0; k < i; k++) {
        const struct plan_unit *u = &net->plan.units[k];
        if (!u->trainable)
            continue;
        size_t offset =
            net_tensor(net, net->graph->nodes[u->node].param)->offset;
        if (offset < until)
            until = offset;
    }
    return until;
}

static enum vd_err backward_all(struct net *net, float *grads, ready_fn *ready,
                                void *ctx)
{
    size_t done = 0;
    for (int i = net->plan.n_units - 1; i >= 0; i--) {
        const struct plan_unit *u = &net->plan.units[i];
        if (!net->plan.values[u->out].requires_grad)
            break;
        VD_TRY(backward_unit(net, i, grads));
        size_t until = first_pending_grad(net, i);
        if (until > done)
            VD_TRY(ready(ctx, (struct range){done, until - done}));
        done = until;
    }
    return VD_OK;
}

enum vd_err cpu_backward(struct net *net, struct buf *exchange, ready_fn *ready,
                         void *ctx)
{
    const struct graph *g = net->graph;
    VD_ASSERT(net->spec.mode == NET_TRAIN && exchange->kind == BUF_EXCHANGE);
    cpu_write_batch_stats(net, exchange->data + g->n_trainable);
    VD_TRY(ready(ctx, (struct range){g->n_trainable, g->n_stats + 1}));
    int before = net_set_threads(net->spec.threads);
    enum vd_err err = backward_all(net, exchange->data, ready, ctx);
    net_restore_threads(before);
    staging_release(&net->staging);
    return err;
}
