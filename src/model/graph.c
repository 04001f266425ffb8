/*
 * Building a graph: each graph_*() call appends a node, infers its shape from
 * its producer and appends its tensors to the parameter table, in creation
 * order. graph_finish() then reorders the table into backward order, marks the
 * tensors of the first nodes as frozen and assigns offsets in the flat buffers.
 *
 * Example: for conv1 - bn1 - relu - flatten - head.fc1 - loss the table becomes
 *
 *     head.fc1.weight  head.fc1.bias  bn1.weight  bn1.bias  conv1.weight
 *     [0, n_head)                     the backbone
 *
 * With first_trainable = the node of head.fc1, n_trainable equals n_head.
 */
#include "model/graph.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void graph_init(struct graph *g)
{
    *g = (struct graph){.norm_eps = 1e-5, .norm_momentum = 0.1};
}

void graph_clear(struct graph *g)
{
    free(g->nodes);
    free(g->params);
    free(g->stats);
    free(g->loss.class_weights);
    graph_init(g);
}

/* ---- nodes ---- */

/* Appends a node with the shape of its first producer. The pointer is valid
 * until the next node is added. */
static struct graph_node *add_node(struct graph *g, enum graph_op op, int in)
{
    VD_ASSERT(in < g->n_nodes && (in >= 0) == (op != GRAPH_INPUT));
    size_t n = (size_t)g->n_nodes + 1;
    g->nodes = xreallocarray(g->nodes, n, sizeof *g->nodes);
    struct graph_node *node = &g->nodes[g->n_nodes++];
    *node =
        (struct graph_node){.op = op, .in = {in, -1}, .param = -1, .stats = -1};
    if (in >= 0) {
        node->c = g->nodes[in].c;
        node->h = g->nodes[in].h;
        node->w = g->nodes[in].w;
    }
    return node;
}

static struct graph_tensor *append_tensor(struct graph_tensor **table, int *n)
{
    *table = xreallocarray(*table, (size_t)*n + 1, sizeof **table);
    struct graph_tensor *t = &(*table)[(*n)++];
    *t = (struct graph_tensor){.n_dims = 0};
    return t;
}

/* Sets the name "layer.part" and the shape; unused dims are 0. */
static void set_name_and_shape(struct graph_tensor *t, const char *layer,
                               const char *part, const int32_t dims[4])
{
    int n = snprintf(t->name, sizeof t->name, "%s.%s", layer, part);
    VD_ASSERT(n > 0 && (size_t)n < sizeof t->name);
    t->head = strncmp(layer, "head.", 5) == 0;
    t->count = 1;
    for (int i = 0; i < 4 && dims[i]; i++) {
        t->dims[t->n_dims++] = dims[i];
        t->count *= (size_t)dims[i];
    }
}

/* Returns the new tensor's index in params. */
static int add_param(struct graph *g, const char *layer, const char *part,
                     const int32_t dims[4], enum graph_init init, int32_t fan)
{
    struct graph_tensor *t = append_tensor(&g->params, &g->n_param_tensors);
    set_name_and_shape(t, layer, part, dims);
    t->init = init;
    t->fan = fan;
    return g->n_param_tensors - 1;
}

static int add_stats(struct graph *g, const char *layer, const char *part,
                     int32_t c, enum graph_init init)
{
    struct graph_tensor *t = append_tensor(&g->stats, &g->n_stats_tensors);
    set_name_and_shape(t, layer, part, (int32_t[4]){c});
    t->init = init;
    t->offset = g->n_stats;
    g->n_stats += t->count;
    return g->n_stats_tensors - 1;
}

int graph_input(struct graph *g, int32_t size)
{
    VD_ASSERT(size > 0 && g->n_nodes == 0);
    struct graph_node *node = add_node(g, GRAPH_INPUT, -1);
    node->c = 3;
    node->h = node->w = size;
    return g->n_nodes - 1;
}

/* Output size of a sliding window along one side. */
static int32_t window_output_size(int32_t side, const struct graph_node *node)
{
    int32_t span = side + 2 * node->pad - node->kernel;
    VD_ASSERT(node->kernel > 0 && node->stride > 0 && span >= 0);
    VD_ASSERT(node->pad >= 0 && node->pad < node->kernel);
    return span / node->stride + 1;
}

static void set_window(struct graph_node *node, int32_t kernel, int32_t stride,
                       int32_t pad)
{
    node->kernel = kernel;
    node->stride = stride;
    node->pad = pad;
    node->h = window_output_size(node->h, node);
    node->w = window_output_size(node->w, node);
}

int graph_conv(struct graph *g, int in, const char *name, int32_t out,
               int32_t kernel, int32_t stride, int32_t pad)
{
    VD_ASSERT(out > 0);
    struct graph_node *node = add_node(g, GRAPH_CONV, in);
    int32_t dims[4] = {out, node->c, kernel, kernel};
    set_window(node, kernel, stride, pad);
    node->c = out;
    node->param = add_param(g, name, "weight", dims, GRAPH_INIT_CONV,
                            out * kernel * kernel);
    return g->n_nodes - 1;
}

int graph_norm(struct graph *g, int in, const char *name)
{
    struct graph_node *node = add_node(g, GRAPH_NORM, in);
    int32_t c = node->c, dims[4] = {c};
    node->param = add_param(g, name, "weight", dims, GRAPH_INIT_ONE, 0);
    add_param(g, name, "bias", dims, GRAPH_INIT_ZERO, 0);
    node->stats = add_stats(g, name, "running_mean", c, GRAPH_INIT_ZERO);
    add_stats(g, name, "running_var", c, GRAPH_INIT_ONE);
    return g->n_nodes - 1;
}

int graph_relu(struct graph *g, int in)
{
    add_node(g, GRAPH_RELU, in);
    return g->n_nodes - 1;
}

int graph_add(struct graph *g, int a, int b)
{
    struct graph_node *node = add_node(g, GRAPH_ADD, a);
    VD_ASSERT(b >= 0 && b < g->n_nodes - 1);
    const struct graph_node *other = &g->nodes[b];
    VD_ASSERT(node->c == other->c && node->h == other->h &&
              node->w == other->w);
    node->in[1] = b;
    return g->n_nodes - 1;
}

int graph_maxpool(struct graph *g, int in, int32_t kernel, int32_t stride,
                  int32_t pad)
{
    struct graph_node *node = add_node(g, GRAPH_MAXPOOL, in);
    set_window(node, kernel, stride, pad);
    return g->n_nodes - 1;
}

int graph_flatten(struct graph *g, int in)
{
    struct graph_node *node = add_node(g, GRAPH_FLATTEN, in);
    node->c *= node->h * node->w;
    node->h = node->w = 1;
    return g->n_nodes - 1;
}

int graph_dropout(struct graph *g, int in, double rate)
{
    VD_ASSERT(rate >= 0 && rate < 1);
    struct graph_node *node = add_node(g, GRAPH_DROPOUT, in);
    node->rate = rate;
    for (int i = 0; i < g->n_nodes - 1; i++)
        node->ordinal += g->nodes[i].op == GRAPH_DROPOUT;
    return g->n_nodes - 1;
}

int graph_linear(struct graph *g, int in, const char *name, int32_t out)
{
    VD_ASSERT(out > 0);
    struct graph_node *node = add_node(g, GRAPH_LINEAR, in);
    VD_ASSERT(node->h == 1 && node->w == 1);
    int32_t fan_in = node->c;
    node->c = out;
    node->param = add_param(g, name, "weight", (int32_t[4]){out, fan_in},
                            GRAPH_INIT_LINEAR, fan_in);
    add_param(g, name, "bias", (int32_t[4]){out}, GRAPH_INIT_LINEAR, fan_in);
    return g->n_nodes - 1;
}

int graph_loss(struct graph *g, int in, const struct graph_loss *loss)
{
    VD_ASSERT(loss->classes > 0 && loss->size > 0);
    struct graph_node *node = add_node(g, GRAPH_LOSS, in);
    VD_ASSERT(node->c == 4 + loss->classes && node->h == 1 && node->w == 1);
    node->c = 1;
    g->loss = *loss;
    if (loss->class_weights) {
        size_t n = (size_t)loss->classes;
        g->loss.class_weights = xcalloc(n, sizeof(double));
        memcpy(g->loss.class_weights, loss->class_weights, n * sizeof(double));
    }
    return g->n_nodes - 1;
}

double graph_loss_of_image(const struct graph_loss *loss, int class, double l1,
                           double ce)
{
    double weight = loss->class_weights ? loss->class_weights[class] : 1;
    return loss->box_scale * l1 + loss->class_scale * weight * ce;
}

/* ---- layout ---- */

/* Reorders the table from creation order to backward order. */
static void order_params(struct graph *g)
{
    struct graph_tensor *ordered =
        xcalloc((size_t)g->n_param_tensors + 1, sizeof *ordered);
    int at = 0;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        struct graph_node *node = &g->nodes[i];
        int n = graph_node_tensors(node);
        for (int k = 0; k < n; k++) {
            ordered[at + k] = g->params[node->param + k];
            ordered[at + k].trainable = i >= g->first_trainable;
        }
        if (n)
            node->param = at;
        at += n;
    }
    free(g->params);
    g->params = ordered;
}

void graph_finish(struct graph *g, int first_trainable, bool fixed_norms)
{
    VD_ASSERT(g->n_nodes && g->nodes[g->n_nodes - 1].op == GRAPH_LOSS);
    VD_ASSERT(first_trainable >= 0 && first_trainable < g->n_nodes);
    g->first_trainable = first_trainable;
    for (int i = 0; i < first_trainable; i++)
        g->nodes[i].fixed_norm = fixed_norms && g->nodes[i].op == GRAPH_NORM;
    order_params(g);
    for (int i = 0; i < g->n_param_tensors; i++) {
        struct graph_tensor *t = &g->params[i];
        t->offset = g->n_params;
        g->n_params += t->count;
        VD_ASSERT(!t->head || g->n_head == t->offset);
        if (t->head)
            g->n_head = g->n_params;
        if (t->trainable)
            g->n_trainable = g->n_params;
    }
    g->n_exchange = g->n_trainable + g->n_stats + 1;
}

/* ---- lookup and digest ---- */

static int find_tensor(const struct graph_tensor *table, int n,
                       const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(table[i].name, name) == 0)
            return i;
    }
    return -1;
}

int graph_find_param(const struct graph *g, const char *name)
{
    return find_tensor(g->params, g->n_param_tensors, name);
}

int graph_find_stats(const struct graph *g, const char *name)
{
    return find_tensor(g->stats, g->n_stats_tensors, name);
}

static void hash_table(struct hash *h, const struct graph_tensor *table, int n)
{
    for (int i = 0; i < n; i++) {
        const struct graph_tensor *t = &table[i];
        int32_t numbers[] = {t->n_dims,  t->dims[0],       t->dims[1],
                             t->dims[2], t->dims[3],       t->fan,
                             t->head,    (int32_t)t->init, t->trainable};
        hash_update(h, t->name, strlen(t->name) + 1);
        hash_update(h, numbers, sizeof numbers);
    }
}

uint64_t graph_digest(const struct graph *g)
{
    struct hash h;
    hash_init(&h);
    for (int i = 0; i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        int32_t numbers[] = {(int32_t)node->op, node->in[0], node->in[1],
                             node->c,           node->h,     node->w,
                             node->param,       node->stats, node->kernel,
                             node->stride,      node->pad,   node->ordinal,
                             node->fixed_norm};
        hash_update(&h, numbers, sizeof numbers);
        hash_update(&h, &node->rate, sizeof node->rate);
    }
    hash_table(&h, g->params, g->n_param_tensors);
    hash_table(&h, g->stats, g->n_stats_tensors);
    const struct graph_loss *loss = &g->loss;
    int32_t shape[] = {loss->size, loss->classes, g->first_trainable};
    double scales[] = {loss->box_scale, loss->class_scale, g->norm_eps,
                       g->norm_momentum};
    hash_update(&h, shape, sizeof shape);
    hash_update(&h, scales, sizeof scales);
    return hash_final(&h);
}
