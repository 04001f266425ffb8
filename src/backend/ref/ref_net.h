/* The net of backend ref. */
#ifndef VOCDIST_BACKEND_REF_REF_NET_H
#define VOCDIST_BACKEND_REF_REF_NET_H

#include "backend/backend.h"
#include "backend/result_queue.h"
#include "backend/staging.h"

/* Data of one node, for the whole micro-batch. */
struct node_data {
    double *value, *grad;              /* owned; grad NULL: not needed */
    double *mean, *inv_std, *unbiased; /* norms, [c], owned */
};

struct net {
    struct net_spec spec;
    const struct graph *graph;
    struct node_data *nodes;    /* [n_nodes], owned */
    double *param, *grad_param; /* scratch for one node's tensors, owned */
    uint8_t *dropout_mask;      /* scratch for one image of any node, owned */

    struct staging staging;
    struct result_queue unread;
    struct step_scalars scalars; /* of the last forward */
    struct result *results;      /* of the last forward, in `unread` */
    bool loss_finite;
};

#endif
