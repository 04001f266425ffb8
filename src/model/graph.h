/*
 * The network as a graph: nodes with inferred shapes, and the parameter table.
 *
 * The graph defines what is computed; a backend decides how. It may fuse any
 * sequence of nodes and use its own layouts, as long as tests can read every
 * node's value. Loss and dropout are nodes. Shapes are per image, [c, h, w] (a
 * vector is [c, 1, 1]); the backend adds the batch dimension.
 *
 * Add node after node, then call graph_finish(), which lays out the flat
 * buffers:
 *
 *     parameters   [0, n_params)      in backward order (nodes from last to
 *                                     first, weight before bias): the head's
 *                                     tensors first, the stem's last
 *       trainable  [0, n_trainable)   freezing starts at the input, so the
 *                                     frozen tensors are the tail
 *       head       [0, n_head)        the rest is the backbone, which has a
 *                                     learning rate of its own
 *     statistics   [0, n_stats)       running mean and variance of each norm
 *     exchange     [0, n_exchange)    what replicas average: gradients
 *                                     [0, n_trainable), then the replica's
 *                                     batch mean and unbiased variance of each
 *                                     norm (n_stats), then one non-finite flag
 *
 * Tensors are packed without gaps in PyTorch's layout ("canonical"). Optimizer,
 * exchange, checkpoints and weight files all use this one table. Local.
 */
#ifndef VOCDIST_MODEL_GRAPH_H
#define VOCDIST_MODEL_GRAPH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum graph_op {
    GRAPH_INPUT, /* the staged image, [3, S, S], float */
    GRAPH_CONV,  /* square kernel, no bias; weight [out, in, k, k] */
    GRAPH_NORM,  /* batch norm over batch, h and w; weight, bias [c] */
    GRAPH_RELU,
    GRAPH_ADD,     /* of two nodes of equal shape */
    GRAPH_MAXPOOL, /* square window; padding is never the maximum */
    GRAPH_FLATTEN, /* [c, h, w] -> [c h w, 1, 1], in that order */
    GRAPH_DROPOUT, /* identity in evaluation; the mask: model/dropout.h */
    GRAPH_LINEAR,  /* weight [out, in], bias [out] */
    GRAPH_LOSS,    /* the last node; see struct graph_loss */
};

struct graph_node {
    enum graph_op op;
    int in[2];       /* producers, -1: none */
    int32_t c, h, w; /* of the result, per image */
    int param;       /* weight's index in params, bias is next; -1: none */
    int stats; /* running_mean's index in stats, running_var is next; -1 */
    int32_t kernel, stride, pad;
    double rate;     /* dropout */
    int32_t ordinal; /* dropout: 0, 1, ... in node order; a key of the mask */
    bool fixed_norm; /* norm: uses running statistics also in training */
};

/*
 * The loss of one image, from the output y [4 + classes] of the last linear
 * layer:
 *
 *     box    b_i = S sigmoid(y_i), i < 4           x1 y1 x2 y2 in pixels
 *     l1     = mean over i of |b_i - target_i|     pixels
 *     ce     = -log softmax(y_4..)[class]          nats
 *     loss   = box_scale l1 + class_scale w[class] ce
 *
 * The loss of a micro-batch is the mean over its images.
 */
struct graph_loss {
    int32_t size; /* S */
    int32_t classes;
    double box_scale, class_scale;
    double *class_weights; /* w [classes], owned; NULL: all 1 */
};

/* The loss of one image of class `class` from its l1 and ce, as above. */
double graph_loss_of_image(const struct graph_loss *loss, int class, double l1,
                           double ce);

/* Initial values of a tensor (PyTorch's defaults). */
enum graph_init {
    GRAPH_INIT_CONV,   /* normal, variance 2 / (out k k) */
    GRAPH_INIT_LINEAR, /* uniform in +-1 / sqrt(fan_in), weight and bias */
    GRAPH_INIT_ONE,
    GRAPH_INIT_ZERO,
};

#define GRAPH_MAX_NAME 64
struct graph_tensor {
    char name[GRAPH_MAX_NAME]; /* as in torchvision, "layer1.0.conv1.weight" */
    int n_dims;
    int32_t dims[4];
    size_t offset, count; /* in its flat buffer, elements */
    enum graph_init init;
    int32_t fan;    /* for init: out k k, or fan_in */
    bool head;      /* the name starts with "head." */
    bool trainable; /* set by graph_finish() */
};

struct graph {
    struct graph_node *nodes; /* owned, in forward order */
    int n_nodes;
    struct graph_tensor *params; /* owned; in backward order once finished */
    int n_param_tensors;
    struct graph_tensor *stats; /* owned; pairs mean, variance */
    int n_stats_tensors;
    struct graph_loss loss;
    int first_trainable; /* see graph_finish() */
    size_t n_params, n_trainable, n_head, n_stats, n_exchange;
    double norm_eps, norm_momentum; /* 1e-5 and 0.1, as in PyTorch */
};

void graph_init(struct graph *g);
void graph_clear(struct graph *g);

/*
 * Each call adds a node and returns its index. Shapes are inferred. Shapes that
 * do not match are a programming error (VD_ASSERT): user settings are checked
 * before. `name` is the layer's name ("layer1.0.conv1", "head.fc1").
 */
int graph_input(struct graph *g, int32_t size);
int graph_conv(struct graph *g, int in, const char *name, int32_t out,
               int32_t kernel, int32_t stride, int32_t pad);
int graph_norm(struct graph *g, int in, const char *name);
int graph_relu(struct graph *g, int in);
int graph_add(struct graph *g, int a, int b);
int graph_maxpool(struct graph *g, int in, int32_t kernel, int32_t stride,
                  int32_t pad);
int graph_flatten(struct graph *g, int in);
int graph_dropout(struct graph *g, int in, double rate);
int graph_linear(struct graph *g, int in, const char *name, int32_t out);
/* Copies class_weights. */
int graph_loss(struct graph *g, int in, const struct graph_loss *loss);

/*
 * Freezes all tensors of nodes [0, first_trainable) and lays out the flat
 * buffers. Backward computes the gradient of the loss with respect to the
 * values of nodes [first_trainable, n_nodes): with 0 also of the input (for
 * tests), with the index of the first convolution not of the input.
 *
 * With fixed_norms, frozen norms use their running statistics also in training.
 * Such a norm writes zeros into the exchange buffer, and an update does not
 * change its running statistics.
 */
void graph_finish(struct graph *g, int first_trainable, bool fixed_norms);

/* Elements of this node's value for one image. */
static inline size_t graph_node_count(const struct graph_node *node)
{
    return (size_t)node->c * (size_t)node->h * (size_t)node->w;
}

/* Number of this node's tensors in params: weight, or weight and bias. */
static inline int graph_node_tensors(const struct graph_node *node)
{
    if (node->param < 0)
        return 0;
    return node->op == GRAPH_CONV ? 1 : 2;
}

/* Elements of these tensors, which are contiguous in the flat buffer. */
static inline size_t graph_node_params(const struct graph *g,
                                       const struct graph_node *node)
{
    size_t n = 0;
    for (int i = 0; i < graph_node_tensors(node); i++)
        n += g->params[node->param + i].count;
    return n;
}

/* Index of the tensor in params or in stats; -1: no such name. */
int graph_find_param(const struct graph *g, const char *name);
int graph_find_stats(const struct graph *g, const char *name);

/* Hash (base/hash.h) of everything in the finished graph that affects the
 * computation, except the class weights: these come from the training data,
 * which are not needed to use a trained network. */
uint64_t graph_digest(const struct graph *g);

#endif
