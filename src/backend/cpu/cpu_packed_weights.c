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
#include "backend/cpu/cpu_packed_weights.h"

#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_simd.h"
#include "base/alloc.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* For the sum of squares of a bias. Each element is then below 1e38, as is each
 * sum of products (CONV_OVERFLOW_BOUND); FLT_MAX is 3.4e38. */
#define BIAS_OVERFLOW_BOUND 1e76

struct packed_weights {
    pthread_mutex_t lock; /* protects the fields below */
    int refcount;         /* number of nets that use them */
    size_t n;
    float *memory;      /* [n], owned */
    bool *may_overflow; /* [n_units], owned */
    /* The weights->version that the copies of trainable and frozen weights were
     * made from. An update leaves the copies of frozen weights valid. */
    uint64_t trainable_version, frozen_version;
};

/* ---- memory ---- */

/* Assigns each unit its part, in the order of the units, which is the same in
 * all nets of equal specs; returns the number of elements. `memory` NULL: only
 * counts. */
static size_t assign_packed_memory(const struct plan *p, struct unit *units,
                                   float *memory)
{
    size_t at = 0;
    for (int i = 0; i < p->n_units; i++) {
        const struct plan_unit *u = &p->units[i];
        if (u->kind != UNIT_CONV)
            continue;
        size_t n = dnn_conv_packed(units[i].conv);
        int32_t bias = dnn_padded_channels(p->graph->nodes[u->node].c);
        if (memory)
            dnn_conv_use_packed(units[i].conv, memory + at);
        at += n;
        if (u->folded_norm < 0)
            continue;
        units[i].bias = memory ? memory + at : NULL;
        at += ((size_t)bias + 15) / 16 * 16;
    }
    return at;
}

static enum vd_err packed_weights_new(const struct plan *p, struct unit *units,
                                      struct packed_weights **out)
{
    void *memory = NULL;
    size_t n = assign_packed_memory(p, units, NULL);
    VD_TRY(alloc_aligned(&memory, n, sizeof(float), "packed weights"));
    struct packed_weights *w = xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->refcount = 1;
    w->n = n;
    w->memory = memory;
    w->may_overflow = xcalloc((size_t)p->n_units, sizeof *w->may_overflow);
    *out = w;
    return VD_OK;
}

enum vd_err packed_weights_open(struct packed_weights *share_from,
                                const struct plan *p, struct unit *units,
                                struct packed_weights **out)
{
    struct packed_weights *w = share_from;
    if (w) {
        pthread_mutex_lock(&w->lock);
        w->refcount++;
        pthread_mutex_unlock(&w->lock);
        VD_ASSERT(w->n == assign_packed_memory(p, units, NULL));
    } else {
        VD_TRY(packed_weights_new(p, units, &w));
    }
    assign_packed_memory(p, units, w->memory);
    *out = w;
    return VD_OK;
}

void packed_weights_close(struct packed_weights *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    int remaining = --w->refcount;
    pthread_mutex_unlock(&w->lock);
    if (remaining > 0)
        return;
    pthread_mutex_destroy(&w->lock);
    alloc_aligned_free(w->memory);
    free(w->may_overflow);
    free(w);
}

size_t packed_weights_count(const struct packed_weights *w)
{
    return w->n;
}

/* ---- contents ---- */

static const float *param_values(const struct plan *p,
                                 const struct weights *weights, int index)
{
    return weights->param.data + p->graph->params[index].offset;
}

static const float *stats_values(const struct plan *p,
                                 const struct weights *weights, int index)
{
    return weights->stats.data + p->graph->stats[index].offset;
}

static const struct graph_tensor *unit_weight(const struct plan *p,
                                              const struct plan_unit *u)
{
    return &p->graph->params[p->graph->nodes[u->node].param];
}

size_t packed_weights_folded_count(const struct plan *p)
{
    size_t max = 0;
    for (int i = 0; i < p->n_units; i++) {
        const struct plan_unit *u = &p->units[i];
        size_t n = u->folded_norm >= 0 ? unit_weight(p, u)->count : 0;
        max = n > max ? n : max;
    }
    return max;
}

/* Writes the folded weights in canonical layout, and their bias. */
static void fold_norm(const struct plan *p, const struct plan_unit *u,
                      const struct weights *weights, float *folded, float *bias)
{
    const struct graph_node *norm = &p->graph->nodes[u->folded_norm];
    const struct graph_tensor *t = unit_weight(p, u);
    const float *from = weights->param.data + t->offset;
    const float *weight = param_values(p, weights, norm->param);
    const float *shift = param_values(p, weights, norm->param + 1);
    const float *mean = stats_values(p, weights, norm->stats);
    const float *var = stats_values(p, weights, norm->stats + 1);
    size_t n = t->count / (size_t)t->dims[0];
    if (layout_is_blocked(t, p->block))
        layout_unpack(t, p->block, from, folded);
    else
        memcpy(folded, from, t->count * sizeof *folded);
    for (size_t c = 0; c < (size_t)t->dims[0]; c++) {
        double scale =
            (double)weight[c] / sqrt((double)var[c] + p->graph->norm_eps);
        bias[c] = (float)((double)shift[c] - (double)mean[c] * scale);
        for (size_t i = 0; i < n; i++)
            folded[c * n + i] = (float)((double)folded[c * n + i] * scale);
    }
}

static bool folded_may_overflow(const struct graph_tensor *t,
                                const float *folded, const float *bias)
{
    const struct simd *simd = simd_get();
    return !(simd->sum_squares(folded, t->count) < CONV_OVERFLOW_BOUND) ||
           !(simd->sum_squares(bias, (size_t)t->dims[0]) < BIAS_OVERFLOW_BOUND);
}

static enum vd_err repack_changed(struct packed_weights *w,
                                  const struct plan *p, struct unit *units,
                                  const struct weights *weights, float *folded)
{
    for (int i = 0; i < p->n_units; i++) {
        const struct plan_unit *u = &p->units[i];
        uint64_t packed_version =
            u->trainable ? w->trainable_version : w->frozen_version;
        if (u->kind != UNIT_CONV || packed_version == weights->version)
            continue;
        const struct graph_tensor *t = unit_weight(p, u);
        const float *values = weights->param.data + t->offset;
        if (u->folded_norm >= 0) {
            fold_norm(p, u, weights, folded, units[i].bias);
            w->may_overflow[i] = folded_may_overflow(t, folded, units[i].bias);
            values = folded;
        }
        VD_TRY(dnn_conv_pack(units[i].conv, values));
    }
    w->trainable_version = w->frozen_version = weights->version;
    return VD_OK;
}

enum vd_err packed_weights_refresh(struct packed_weights *w,
                                   const struct plan *p, struct unit *units,
                                   const struct weights *weights, float *folded)
{
    pthread_mutex_lock(&w->lock);
    enum vd_err err = repack_changed(w, p, units, weights, folded);
    pthread_mutex_unlock(&w->lock);
    return err;
}

void packed_weights_keep_frozen(struct packed_weights *w, uint64_t version)
{
    pthread_mutex_lock(&w->lock);
    if (w->frozen_version == version)
        w->frozen_version++;
    pthread_mutex_unlock(&w->lock);
}

bool packed_weights_may_overflow(const struct packed_weights *w, int i)
{
    return w->may_overflow[i];
}
