/*
 * Operator fusion, liveness analysis and memory planning.
 *
 *   1. plan_values(): layout and size of each node's value.
 *   2. plan_units(): fuses nodes into units, greedily in node order.
 *   3. plan_forward(), plan_backward(): a buffer for each value, gradient and
 *      recomputed value, with its lifetime (first and last time of use).
 *   4. plan_assign_offsets(): first-fit by decreasing size ("greedy by size",
 *      as in Pisarchyk and Lee 2020, but with the lowest free offset).
 *
 * Invariant: buffers whose lifetimes overlap do not overlap in memory.
 * Example: see the comment above plan_init().
 */
#include "backend/cpu/cpu_plan.h"

#include "base/alloc.h"

#include <stdlib.h>

/* Below this total number of elements, buffers never share memory: it would
 * save little, and tests can read every value. */
#define MIN_SHARED_ELEMENTS ((size_t)4 << 20)
/* Buffer sizes are multiples of a cache line. The skew (an odd number of lines)
 * keeps parallel streams through several buffers from using the same cache
 * set. */
#define CACHE_LINE_FLOATS ((size_t)16)
#define CACHE_SET_SKEW    ((size_t)17 * 16)

/* ---- queries on the graph ---- */

static const struct graph_node *node_of(const struct plan *p, int node)
{
    return &p->graph->nodes[node];
}

static int n_consumers(const struct plan *p, int node)
{
    int n = 0;
    for (int i = 0; i < p->graph->n_nodes; i++) {
        const struct graph_node *at = node_of(p, i);
        n += (at->in[0] == node) + (at->in[1] == node);
    }
    return n;
}

/* The only consumer of `node`, if there is exactly one and it is an `op`; else
 * -1. */
static int sole_consumer(const struct plan *p, int node, enum graph_op op)
{
    if (n_consumers(p, node) != 1)
        return -1;
    for (int i = node + 1; i < p->graph->n_nodes; i++) {
        const struct graph_node *at = node_of(p, i);
        if (at->in[0] == node || at->in[1] == node)
            return at->op == op ? i : -1;
    }
    return -1;
}

bool plan_norm_is_static(const struct plan *p, int node)
{
    return !p->training || node_of(p, node)->fixed_norm;
}

/* ---- values ---- */

static bool is_blocked(const struct plan *p, int node)
{
    const struct graph_node *at = node_of(p, node);
    switch (at->op) {
    case GRAPH_CONV:
        return true;
    case GRAPH_INPUT:
    case GRAPH_FLATTEN:
    case GRAPH_LINEAR:
    case GRAPH_LOSS:
        return false;
    case GRAPH_NORM:
    case GRAPH_RELU:
    case GRAPH_ADD:
    case GRAPH_MAXPOOL:
    case GRAPH_DROPOUT:
        break;
    }
    return p->values[at->in[0]].blocked;
}

static bool has_trainable_params(const struct plan *p, int node)
{
    const struct graph_node *at = node_of(p, node);
    return p->training && at->param >= 0 &&
           p->graph->params[at->param].trainable;
}

static void plan_values(struct plan *p)
{
    int n = p->graph->n_nodes;
    p->values = xcalloc((size_t)n, sizeof *p->values);
    for (int i = 0; i < n; i++) {
        const struct graph_node *at = node_of(p, i);
        struct plan_value *v = &p->values[i];
        *v = (struct plan_value){.buffer = -1, .unit = -1};
        v->blocked = is_blocked(p, i);
        size_t c = (size_t)at->c, block = (size_t)p->block;
        if (v->blocked)
            c = (c + block - 1) / block * block;
        v->n = (size_t)p->batch * c * (size_t)at->h * (size_t)at->w;
        v->requires_grad = p->training && i >= p->graph->first_trainable;
    }
}

/* ---- units ---- */

static struct plan_unit *add_unit(struct plan *p, enum unit_kind kind, int node)
{
    struct plan_unit *u = &p->units[p->n_units++];
    *u = (struct plan_unit){.kind = kind,
                            .node = node,
                            .folded_norm = -1,
                            .in = node_of(p, node)->in[0],
                            .residual = -1,
                            .out = node,
                            .aux = -1,
                            .scratch = -1,
                            .backward_scratch = -1,
                            .recompute = -1,
                            .recompute_value = -1,
                            .grad = {-1, -1},
                            .grad_in = -1,
                            .grad_in_sum = -1,
                            .grad_residual = -1,
                            .grad_residual_sum = -1};
    return u;
}

/* True if no node from `from` on, other than `except`, reads `node`. */
static bool is_dead_after(const struct plan *p, int node, int from, int except)
{
    for (int i = from; i < p->graph->n_nodes; i++) {
        const struct graph_node *at = node_of(p, i);
        if (i != except && (at->in[0] == node || at->in[1] == node))
            return false;
    }
    return true;
}

/* Nodes of one unit must all require gradients or none: a unit has a backward
 * pass as a whole or not at all. */
static bool same_requires_grad(const struct plan *p, const struct plan_unit *u,
                               int node)
{
    return p->values[u->node].requires_grad == p->values[node].requires_grad;
}

/*
 * Extends a unit that ends in node u->out by a following add and relu. An add
 * is fused into the later of its two producers; the other value exists then.
 * `in_place`: the result overwrites the added value, which therefore must have
 * no later consumer.
 */
static void fuse_add_and_relu(struct plan *p, struct plan_unit *u, bool *fused,
                              bool in_place)
{
    int add = sole_consumer(p, u->out, GRAPH_ADD);
    if (add >= 0) {
        const struct graph_node *at = node_of(p, add);
        int other = at->in[0] == u->out ? at->in[1] : at->in[0];
        if (p->values[other].unit >= 0 && p->values[other].blocked &&
            same_requires_grad(p, u, add) &&
            (!in_place || is_dead_after(p, other, u->node, add))) {
            u->residual = other;
            u->out = add;
            fused[add] = true;
        }
    }
    int relu = sole_consumer(p, u->out, GRAPH_RELU);
    if (relu >= 0 && same_requires_grad(p, u, relu)) {
        u->relu = true;
        u->out = relu;
        fused[relu] = true;
    }
}

static void plan_conv(struct plan *p, int node, bool *fused)
{
    struct plan_unit *u = add_unit(p, UNIT_CONV, node);
    int norm = sole_consumer(p, node, GRAPH_NORM);
    if (norm < 0 || !plan_norm_is_static(p, norm))
        return;
    u->folded_norm = norm;
    u->out = norm;
    fused[norm] = true;
    fuse_add_and_relu(p, u, fused, true);
}

static void plan_node(struct plan *p, int node, bool *fused)
{
    struct plan_unit *u = NULL;
    const struct graph_node *at = node_of(p, node);
    switch (at->op) {
    case GRAPH_INPUT:
        return;
    case GRAPH_CONV:
        plan_conv(p, node, fused);
        break;
    case GRAPH_NORM:
        u = add_unit(p, UNIT_NORM, node);
        if (p->values[node].blocked)
            fuse_add_and_relu(p, u, fused, false);
        break;
    case GRAPH_RELU:
        add_unit(p, UNIT_RELU, node);
        break;
    case GRAPH_ADD:
        u = add_unit(p, UNIT_ADD, node);
        u->residual = at->in[1];
        break;
    case GRAPH_MAXPOOL:
        add_unit(p, UNIT_POOL, node);
        break;
    case GRAPH_FLATTEN:
        add_unit(p, UNIT_FLATTEN, node);
        break;
    case GRAPH_DROPOUT:
        add_unit(p, UNIT_DROPOUT, node);
        break;
    case GRAPH_LINEAR:
        add_unit(p, UNIT_LINEAR, node);
        break;
    case GRAPH_LOSS:
        add_unit(p, UNIT_LOSS, node);
        break;
    }
    u = &p->units[p->n_units - 1];
    u->trainable = has_trainable_params(p, node);
    p->values[u->out].unit = p->n_units - 1;
}

static void plan_units(struct plan *p)
{
    int n = p->graph->n_nodes;
    bool *fused = xcalloc((size_t)n, sizeof *fused);
    p->units = xcalloc((size_t)n, sizeof *p->units);
    for (int i = 0; i < n; i++) {
        if (!fused[i])
            plan_node(p, i, fused);
    }
    free(fused);
}

/* ---- buffers ---- */

static int add_buffer(struct plan *p, size_t n, int time)
{
    size_t count = (size_t)p->n_buffers + 1;
    p->buffers = xreallocarray(p->buffers, count, sizeof *p->buffers);
    n = (n + CACHE_LINE_FLOATS - 1) / CACHE_LINE_FLOATS * CACHE_LINE_FLOATS +
        CACHE_SET_SKEW;
    p->buffers[p->n_buffers] =
        (struct plan_buffer){.n = n, .first_use = time, .last_use = time};
    return p->n_buffers++;
}

static void extend_lifetime(struct plan *p, int buffer, int time)
{
    if (buffer >= 0 && p->buffers[buffer].last_use < time)
        p->buffers[buffer].last_use = time;
}

static void extend_value_lifetime(struct plan *p, int node, int time)
{
    if (node >= 0)
        extend_lifetime(p, p->values[node].buffer, time);
}

static bool has_backward(const struct plan *p, const struct plan_unit *u)
{
    return p->training && p->values[u->out].requires_grad;
}

static void plan_forward(struct plan *p)
{
    for (int t = 0; t < p->n_units; t++) {
        struct plan_unit *u = &p->units[t];
        struct plan_value *out = &p->values[u->out];
        extend_value_lifetime(p, u->in, t);
        extend_value_lifetime(p, u->residual, t);
        if (u->folded_norm >= 0 && u->residual >= 0) {
            out->buffer = p->values[u->residual].buffer;
            p->values[u->residual].replaced = true;
        } else {
            out->buffer = add_buffer(p, out->n, t);
        }
        extend_lifetime(p, out->buffer, t);
        if (u->kind == UNIT_DROPOUT && has_backward(p, u))
            u->aux = add_buffer(p, out->n, t);
    }
}

/* Number of gradient parts that a value may have in separate buffers: backward
 * of a norm on a blocked map adds two itself. */
static int max_grads(const struct plan *p, int node)
{
    int unit = p->values[node].unit;
    return unit >= 0 && p->units[unit].kind == UNIT_NORM &&
                   p->values[node].blocked
               ? 2
               : 1;
}

/* Records `buffer` as one more part of the gradient of `node`. Returns the
 * buffer to which the pass must add it, or -1 if it stays a part of its own. */
static int add_grad_part(struct plan *p, int node, int buffer, int time)
{
    struct plan_value *v = &p->values[node];
    if (v->n_grads < max_grads(p, node)) {
        v->grads[v->n_grads++] = buffer;
        return -1;
    }
    extend_lifetime(p, v->grads[0], time);
    return v->grads[0];
}

static void plan_residual_grad(struct plan *p, struct plan_unit *u, int time)
{
    if (u->residual < 0 || !p->values[u->residual].requires_grad)
        return;
    if (u->kind == UNIT_NORM)
        u->grad_residual = u->grad[0];
    else
        u->grad_residual = add_buffer(p, p->values[u->residual].n, time);
    u->grad_residual_sum =
        add_grad_part(p, u->residual, u->grad_residual, time);
}

/* The value of a norm with ReLU: one read and one write per element recompute
 * it from the norm's input, which is kept for the norm's own backward. */
static bool is_cheap_to_recompute(const struct plan *p, int node)
{
    int unit = p->values[node].unit;
    if (unit < 0)
        return false;
    const struct plan_unit *u = &p->units[unit];
    return u->kind == UNIT_NORM && u->relu && u->residual < 0 &&
           p->values[node].requires_grad && n_consumers(p, node) == 1;
}

/* Extends the lifetimes of the forward values that a unit's backward reads. */
static void extend_saved_lifetimes(struct plan *p, struct plan_unit *u,
                                   int time)
{
    switch (u->kind) {
    case UNIT_CONV:
        if (u->trainable && is_cheap_to_recompute(p, u->in)) {
            u->recompute = p->values[u->in].unit;
            u->recompute_value = add_buffer(p, p->values[u->in].n, time);
        } else if (u->trainable) {
            extend_value_lifetime(p, u->in, time);
        }
        break;
    case UNIT_LINEAR:
        if (u->trainable)
            extend_value_lifetime(p, u->in, time);
        break;
    case UNIT_NORM:
        extend_value_lifetime(p, u->in, time);
        if (u->relu && u->residual >= 0)
            extend_value_lifetime(p, u->out, time);
        break;
    case UNIT_RELU:
        extend_value_lifetime(p, u->out, time);
        break;
    case UNIT_LOSS:
        extend_value_lifetime(p, u->in, time);
        break;
    case UNIT_DROPOUT:
        extend_lifetime(p, u->aux, time);
        break;
    case UNIT_ADD:
    case UNIT_POOL:
    case UNIT_FLATTEN:
        break;
    }
}

bool plan_norm_masks_in_place(const struct plan_unit *u)
{
    return u->kind == UNIT_NORM &&
           (u->grad[1] >= 0 || (u->relu && u->residual >= 0));
}

static void plan_backward(struct plan *p)
{
    for (int i = p->n_units - 1; i >= 0; i--) {
        struct plan_unit *u = &p->units[i];
        struct plan_value *out = &p->values[u->out];
        int time = plan_backward_time(p, i);
        if (!has_backward(p, u))
            continue;
        for (int k = 0; k < out->n_grads; k++) {
            u->grad[k] = out->grads[k];
            extend_lifetime(p, u->grad[k], time);
        }
        extend_saved_lifetimes(p, u, time);
        if (plan_norm_masks_in_place(u))
            p->buffers[u->grad[0]].overwritten = true;
        if (p->values[u->in].requires_grad) {
            u->grad_in = add_buffer(p, p->values[u->in].n, time);
            u->grad_in_sum = add_grad_part(p, u->in, u->grad_in, time);
        }
        plan_residual_grad(p, u, time);
        extend_lifetime(p, u->grad_residual, time);
    }
}

/* ---- offsets in the arena ---- */

static bool lifetimes_overlap(const struct plan_buffer *a,
                              const struct plan_buffer *b)
{
    return a->first_use <= b->last_use && b->first_use <= a->last_use;
}

static bool memory_overlaps(const struct plan_buffer *a,
                            const struct plan_buffer *b)
{
    return a->offset < b->offset + b->n && b->offset < a->offset + a->n;
}

/* Assigns the lowest offset >= `from` that is free during the lifetime of `b`
 * (first fit): moves past each conflicting buffer until there is none. */
static void assign_lowest_offset(const struct plan *p, const bool *assigned,
                                 size_t from, struct plan_buffer *b)
{
    b->offset = from;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < p->n_buffers; i++) {
            const struct plan_buffer *other = &p->buffers[i];
            if (assigned[i] && other != b && lifetimes_overlap(other, b) &&
                memory_overlaps(other, b)) {
                b->offset = other->offset + other->n;
                moved = true;
            }
        }
    }
}

static int largest_unassigned(const struct plan *p, const bool *assigned)
{
    int best = -1;
    for (int i = 0; i < p->n_buffers; i++) {
        if (!assigned[i] && (best < 0 || p->buffers[i].n > p->buffers[best].n))
            best = i;
    }
    return best;
}

/* Assigns consecutive offsets to all buffers but scratchpads; returns their
 * total size. */
static size_t assign_value_offsets(struct plan *p, bool *assigned)
{
    size_t total = 0;
    for (int i = 0; i < p->n_buffers; i++) {
        struct plan_buffer *b = &p->buffers[i];
        if (b->scratch)
            continue;
        b->offset = total;
        total += b->n;
        assigned[i] = true;
    }
    return total;
}

static size_t values_size(const struct plan *p)
{
    size_t n = 0;
    for (int i = 0; i < p->n_buffers; i++)
        n += p->buffers[i].scratch ? 0 : p->buffers[i].n;
    return n;
}

void plan_assign_offsets(struct plan *p)
{
    bool *assigned = xcalloc((size_t)p->n_buffers, sizeof *assigned);
    size_t from = values_size(p) < MIN_SHARED_ELEMENTS
                      ? assign_value_offsets(p, assigned)
                      : 0;
    p->arena = from;
    for (int i = largest_unassigned(p, assigned); i >= 0;
         i = largest_unassigned(p, assigned)) {
        struct plan_buffer *b = &p->buffers[i];
        assign_lowest_offset(p, assigned, from, b);
        assigned[i] = true;
        if (b->offset + b->n > p->arena)
            p->arena = b->offset + b->n;
    }
    free(assigned);
}

bool plan_is_intact(const struct plan *p, int buffer)
{
    const struct plan_buffer *b = &p->buffers[buffer];
    for (int i = 0; i < p->n_buffers; i++) {
        if (i != buffer && p->buffers[i].first_use > b->first_use &&
            memory_overlaps(&p->buffers[i], b))
            return false;
    }
    return !b->overwritten;
}

/*
 * Example: a basic residual block in training; batch 32, 64 channels of 56 x
 * 56, channel block 16. A map takes 1 M = 32 x 64 x 56 x 56 + 272 = 6 422 800
 * elements (25.7 MB). The net has 10 units: unit 0 is the convolution s, and
 * units 6 to 9 are pooling, flatten, linear and loss.
 *
 *     unit and its fused nodes     time  value    at   gradient        at
 *     1  x = relu(norm(s))         1 18  x  1-17  1 M  13-18 + 17-18   5, 2 M
 *     2  a = conv1(x)              2 17  a  2-16  2 M  16-17           3 M
 *     3  b = relu(norm1(a))        3 16  b  3-4   3 M  15-16           4 M
 *     4  c = conv2(b)              4 15  c  4-14  4 M  14-15           6 M
 *     5  y = relu(norm2(c) + x)    5 14  y  5-14  3 M  13-18           5 M
 *
 * Times are forward and backward; a-b is a lifetime.
 *   - Fusion: norm2(c) and its sum with x have no buffers.
 *   - Recompute: b is not kept for conv2's weights gradient. At time 15 it is
 *     recomputed from a into a buffer of lifetime 15-15 at 3 M. So y can use
 *     b's memory from time 5 on.
 *   - y is kept until 14, where its sign masks the gradient (ReLU).
 *   - The gradient of y is masked in place at time 14 and is then the first
 *     part of the gradient of x. The second part comes from conv1 at time 17;
 *     backward of unit 1 adds the two.
 * With s (0-18, at 0) and its gradient (18-19, at 1 M) the arena has 7 M
 * elements; separate buffers would need 14 M.
 *
 * In evaluation norms are folded: x, b = conv1(x), y = conv2(b) + x in the
 * buffer of x. That takes 2 M.
 */
void plan_init(struct plan *p, const struct graph *g, int batch, int block,
               bool training)
{
    *p = (struct plan){
        .graph = g, .batch = batch, .block = block, .training = training};
    plan_values(p);
    plan_units(p);
    plan_forward(p);
    if (training)
        plan_backward(p);
    /* The loss's input can be read (node_value) until the next forward. */
    const struct graph_node *last = &g->nodes[g->n_nodes - 1];
    if (last->op == GRAPH_LOSS)
        extend_value_lifetime(p, last->in[0], 2 * p->n_units);
}

int plan_backward_time(const struct plan *p, int i)
{
    return 2 * p->n_units - 1 - i;
}

int plan_add_scratch(struct plan *p, int time, size_t n)
{
    if (n == 0)
        return -1;
    int buffer = add_buffer(p, n, time);
    p->buffers[buffer].scratch = true;
    return buffer;
}

void plan_clear(struct plan *p)
{
    free(p->units);
    free(p->values);
    free(p->buffers);
    *p = (struct plan){.batch = 0};
}
