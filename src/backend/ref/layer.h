/* The arguments of a layer function of backend ref. */
#ifndef VOCDIST_BACKEND_REF_LAYER_H
#define VOCDIST_BACKEND_REF_LAYER_H

#include "backend/backend.h"

/* The arguments of one node; all pointers are borrowed. */
struct layer {
    const struct graph *graph;
    const struct graph_node *node;
    const struct graph_node *source; /* node->in[0] */
    int batch;
    bool training;
    double *in[2], *out; /* values */
    double *weight, *bias;
    /* Backward only; NULL: this gradient is not needed. */
    double *grad_out;
    double *grad_in[2];
    double *grad_weight, *grad_bias;
    /* Norm, [c]: statistics of the batch, or the running ones where those are
     * used (layer_uses_batch()). */
    double *mean, *inv_std;
    double *unbiased; /* variance of the batch, divided by n - 1 */
    /* Dropout and loss. */
    const struct batch_item *items;
    uint64_t seed;
    uint8_t *dropout_mask; /* scratch for one image of the node */
    struct result *results;
};

#endif
