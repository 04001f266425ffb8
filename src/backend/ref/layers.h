/*
 * One node at a time, forward and backward, in double. Arrays are
 * [batch, c, h, w]; gradients are added to, outputs are set. Local and pure.
 */
#ifndef VOCDIST_BACKEND_REF_LAYERS_H
#define VOCDIST_BACKEND_REF_LAYERS_H

#include "backend/backend.h"

/* What a node sees; everything borrowed. */
struct layer {
    const struct graph *graph;
    const struct graph_node *node;
    const struct graph_node *source; /* node->in[0] */
    int batch;
    bool training;
    double *in[2], *out; /* values */
    double *weight, *bias;
    /* Backward only; NULL where a gradient is not wanted. */
    double *grad_out;
    double *grad_in[2];
    double *grad_weight, *grad_bias;
    /* Norm, [c]: of the batch, or the running ones where those are used. */
    double *mean, *inv_std;
    double *unbiased; /* variance, of the batch */
    /* Dropout and loss. */
    const struct batch_item *items;
    uint64_t seed;
    uint8_t *dropout_mask; /* room for one image of the node */
    struct result *results;
};

/* True where a norm takes the batch's own statistics. */
bool layer_uses_batch(const struct layer *layer);

void layer_forward(const struct layer *layer);
void layer_backward(const struct layer *layer);

/* In layers_window.c. */
void layer_conv_forward(const struct layer *layer);
void layer_conv_backward(const struct layer *layer);
void layer_maxpool_forward(const struct layer *layer);
void layer_maxpool_backward(const struct layer *layer);

#endif
