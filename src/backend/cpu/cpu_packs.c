/* Packed weights: nets that are alike share one copy. */
#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_net.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- their memory ---- */

/* Gives out parts of it in the units' order, which is the same for all nets
 * that are alike; returns how much that is. */
static size_t give_out(struct net *net, float *memory)
{
    size_t at = 0;
    for (int i = 0; i < net->plan.n_units; i++) {
        struct unit *unit = &net->units[i];
        const struct plan_unit *u = &net->plan.units[i];
        if (u->kind != UNIT_CONV)
            continue;
        size_t n = dnn_conv_packed(unit->conv);
        int32_t bias = dnn_padded(net->graph->nodes[u->node].c);
        if (memory)
            dnn_conv_use_packed(unit->conv, memory + at);
        at += n;
        if (u->fold < 0)
            continue;
        unit->bias = memory ? memory + at : NULL;
        at += ((size_t)bias + 15) / 16 * 16;
    }
    return at;
}

static enum vd_err packs_new(struct net *net)
{
    void *memory = NULL;
    size_t n = give_out(net, NULL);
    VD_TRY(mem_alloc(&memory, n, sizeof(float), "packed weights"));
    struct packs *packs = mem_new(1, sizeof *packs);
    pthread_mutex_init(&packs->lock, NULL);
    packs->nets = 1;
    packs->n = n;
    packs->memory = memory;
    net->packs = packs;
    return VD_OK;
}

enum vd_err packs_open(struct net *net, const struct net *like)
{
    if (like) {
        net->packs = like->packs;
        pthread_mutex_lock(&net->packs->lock);
        net->packs->nets++;
        pthread_mutex_unlock(&net->packs->lock);
        VD_ASSERT(net->packs->n == give_out(net, NULL));
    } else {
        VD_TRY(packs_new(net));
    }
    give_out(net, net->packs->memory);
    return VD_OK;
}

void packs_close(struct net *net)
{
    struct packs *packs = net->packs;
    if (!packs)
        return;
    pthread_mutex_lock(&packs->lock);
    int left = --packs->nets;
    pthread_mutex_unlock(&packs->lock);
    net->packs = NULL;
    if (left > 0)
        return;
    pthread_mutex_destroy(&packs->lock);
    mem_free(packs->memory);
    free(packs);
}

/* ---- what is in it ---- */

/* The convolution's weights times the norm's scale, canonical; and its bias. */
static const float *fold(struct net *net, const struct plan_unit *u,
                         float *bias)
{
    const struct graph_node *norm = &net->graph->nodes[u->fold];
    const struct graph_tensor *t =
        net_tensor(net, net->graph->nodes[u->node].param);
    const float *weights = net_param(net, net->graph->nodes[u->node].param);
    const float *mean = net_running(net, norm->stats);
    const float *var = net_running(net, norm->stats + 1);
    float *folded = net_buffer(net, net->fold);
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
    const struct lanes *lanes = net->lanes;
    if (!(lanes->sum_squares(folded, t->count) < PACKS_MOST) ||
        !(lanes->sum_squares(bias, (size_t)t->dims[0]) < 1e76))
        bias[0] = NAN; /* find_overflow() (cpu_pass.c) reads it */
    return folded;
}

static enum vd_err refresh(struct net *net)
{
    struct packs *packs = net->packs;
    uint64_t version = net->spec.weights->version;
    dnn_use_scratch(net->dnn, net_buffer(net, net->pack_scratch));
    for (int i = 0; i < net->plan.n_units; i++) {
        const struct plan_unit *u = &net->plan.units[i];
        uint64_t made =
            u->learns ? packs->learning_version : packs->frozen_version;
        if (u->kind != UNIT_CONV || made == version)
            continue;
        const float *weights = net_param(net, net->graph->nodes[u->node].param);
        if (u->fold >= 0)
            weights = fold(net, u, net->units[i].bias);
        VD_TRY(dnn_conv_pack(net->units[i].conv, weights));
    }
    packs->learning_version = packs->frozen_version = version;
    return VD_OK;
}

enum vd_err packs_refresh(struct net *net)
{
    pthread_mutex_lock(&net->packs->lock);
    enum vd_err err = refresh(net);
    pthread_mutex_unlock(&net->packs->lock);
    return err;
}

void packs_expect_update(struct net *net)
{
    struct packs *packs = net->packs;
    pthread_mutex_lock(&packs->lock);
    if (packs->frozen_version == net->spec.weights->version)
        packs->frozen_version++;
    pthread_mutex_unlock(&packs->lock);
}
