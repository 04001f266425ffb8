/*
 * Packed weights, with the batch norm folded into a convolution that has
 * running statistics:
 *
 *     scale = weight / sqrt(running_var + eps)         of the norm, per channel
 *     W'    = scale W,   bias' = bias - running_mean scale
 *
 * Nets of equal specs share one reference-counted copy. The first net that
 * starts a forward pass after a change of the weights packs them, under the
 * lock; the others find the version current.
 */
#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_net.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

/* Assigns each unit its part, in the order of the units, which is the same in
 * all nets of equal specs; returns the number of elements. `memory` NULL: only
 * counts. */
static size_t assign_packed_memory(struct net *net, float *memory)
{
    size_t at = 0;
    for (int i = 0; i < net->plan.n_units; i++) {
        struct unit *unit = &net->units[i];
        const struct plan_unit *u = &net->plan.units[i];
        if (u->kind != UNIT_CONV)
            continue;
        size_t n = dnn_conv_packed(unit->conv);
        int32_t bias = dnn_padded_channels(net->graph->nodes[u->node].c);
        if (memory)
            dnn_conv_use_packed(unit->conv, memory + at);
        at += n;
        if (u->folded_norm < 0)
            continue;
        unit->bias = memory ? memory + at : NULL;
        at += ((size_t)bias + 15) / 16 * 16;
    }
    return at;
}

static enum vd_err packed_weights_new(struct net *net)
{
    void *memory = NULL;
    size_t n = assign_packed_memory(net, NULL);
    VD_TRY(alloc_aligned(&memory, n, sizeof(float), "packed weights"));
    struct packed_weights *packed_weights = xcalloc(1, sizeof *packed_weights);
    pthread_mutex_init(&packed_weights->lock, NULL);
    packed_weights->refcount = 1;
    packed_weights->n = n;
    packed_weights->memory = memory;
    net->packed_weights = packed_weights;
    return VD_OK;
}

enum vd_err packed_weights_open(struct net *net, const struct net *share_from)
{
    if (share_from) {
        net->packed_weights = share_from->packed_weights;
        pthread_mutex_lock(&net->packed_weights->lock);
        net->packed_weights->refcount++;
        pthread_mutex_unlock(&net->packed_weights->lock);
        VD_ASSERT(net->packed_weights->n == assign_packed_memory(net, NULL));
    } else {
        VD_TRY(packed_weights_new(net));
    }
    assign_packed_memory(net, net->packed_weights->memory);
    return VD_OK;
}

void packed_weights_close(struct net *net)
{
    struct packed_weights *packed_weights = net->packed_weights;
    if (!packed_weights)
        return;
    pthread_mutex_lock(&packed_weights->lock);
    int remaining = --packed_weights->refcount;
    pthread_mutex_unlock(&packed_weights->lock);
    net->packed_weights = NULL;
    if (remaining > 0)
        return;
    pthread_mutex_destroy(&packed_weights->lock);
    alloc_aligned_free(packed_weights->memory);
    free(packed_weights);
}

/* ---- contents ---- */

/* Returns the folded weights in canonical layout, and their bias. */
static const float *fold_norm(struct net *net, const struct plan_unit *u,
                              float *bias)
{
    const struct graph_node *norm = &net->graph->nodes[u->folded_norm];
    const struct graph_tensor *t =
        net_tensor(net, net->graph->nodes[u->node].param);
    const float *weights = net_param(net, net->graph->nodes[u->node].param);
    const float *mean = net_running(net, norm->stats);
    const float *var = net_running(net, norm->stats + 1);
    float *folded = net_buffer(net, net->folded_weights);
    size_t n = t->count / (size_t)t->dims[0];
    if (layout_is_blocked(t, net->plan.block))
        layout_unpack(t, net->plan.block, weights, folded);
    else
        memcpy(folded, weights, t->count * sizeof *folded);
    for (size_t c = 0; c < (size_t)t->dims[0]; c++) {
        double scale = (double)net_param(net, norm->param)[c] /
                       sqrt((double)var[c] + net->graph->norm_eps);
        bias[c] = (float)((double)net_param(net, norm->param + 1)[c] -
                          (double)mean[c] * scale);
        for (size_t i = 0; i < n; i++)
            folded[c * n + i] = (float)((double)folded[c * n + i] * scale);
    }
    const struct simd *simd = net->simd;
    if (!(simd->sum_squares(folded, t->count) < CONV_OVERFLOW_BOUND) ||
        !(simd->sum_squares(bias, (size_t)t->dims[0]) < 1e76))
        bias[0] = NAN; /* flag_overflow() (cpu_pass.c) reads it */
    return folded;
}

static enum vd_err repack_changed(struct net *net)
{
    struct packed_weights *packed_weights = net->packed_weights;
    uint64_t version = net->spec.weights->version;
    dnn_use_scratch(net->dnn, net_buffer(net, net->pack_scratch));
    for (int i = 0; i < net->plan.n_units; i++) {
        const struct plan_unit *u = &net->plan.units[i];
        uint64_t packed_version = u->trainable
                                      ? packed_weights->trainable_version
                                      : packed_weights->frozen_version;
        if (u->kind != UNIT_CONV || packed_version == version)
            continue;
        const float *weights = net_param(net, net->graph->nodes[u->node].param);
        if (u->folded_norm >= 0)
            weights = fold_norm(net, u, net->units[i].bias);
        VD_TRY(dnn_conv_pack(net->units[i].conv, weights));
    }
    packed_weights->trainable_version = packed_weights->frozen_version =
        version;
    return VD_OK;
}

enum vd_err packed_weights_refresh(struct net *net)
{
    pthread_mutex_lock(&net->packed_weights->lock);
    enum vd_err err = repack_changed(net);
    pthread_mutex_unlock(&net->packed_weights->lock);
    return err;
}

void packed_weights_expect_update(struct net *net)
{
    struct packed_weights *packed_weights = net->packed_weights;
    pthread_mutex_lock(&packed_weights->lock);
    if (packed_weights->frozen_version == net->spec.weights->version)
        packed_weights->frozen_version++;
    pthread_mutex_unlock(&packed_weights->lock);
}
