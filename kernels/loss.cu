/*
 * The loss of a micro-batch: one block, a thread computes every 256th image, in
 * double as backend ref. An image reads its logits several times, from the
 * cache. The greatest logit is subtracted before exp, which cannot overflow.
 */
#include "kernels_internal.h"

#define NOT_A_NUMBER float_from_bits(0x7fc00000)

/* One image. */
struct loss_image {
    const struct kernel_loss *l;
    const struct kernel_item *item;
    size_t first; /* index of its first logit */
};

static __device__ __forceinline__ double logit(const struct loss_image *p,
                                               int32_t i)
{
    return (double)load1(p->l->logits, p->first + (size_t)i, p->l->type);
}

static __device__ __forceinline__ double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* log(sum of exp) of the classes' logits; *best: of the greatest one. */
static __device__ __forceinline__ double log_sum_exp(const struct loss_image *p,
                                                     int32_t *best)
{
    double high = logit(p, 4), sum = 0;
    *best = 0;
    for (int32_t i = 1; i < p->l->classes; i++) {
        double y = logit(p, 4 + i);
        if (y > high) {
            high = y;
            *best = i;
        }
    }
    for (int32_t i = 0; i < p->l->classes; i++)
        sum += exp(logit(p, 4 + i) - high);
    return high + log(sum);
}

static __device__ __forceinline__ double
class_factor(const struct loss_image *p)
{
    const double *weights = p->l->class_weights;
    return p->l->class_scale * (weights ? weights[p->item->class_index] : 1);
}

/* The loss of the image and its result. */
static __device__ __forceinline__ double image_loss(const struct loss_image *p,
                                                    double lse, int32_t best,
                                                    struct kernel_result *r)
{
    double l1 = 0;
    for (int32_t i = 0; i < 4; i++) {
        double edge = p->l->size * sigmoid(logit(p, i));
        r->box[i] = (float)edge;
        l1 += fabs(edge - (double)p->item->box[i]) / 4;
    }
    double ce = lse - logit(p, 4 + p->item->class_index);
    r->l1 = (float)l1;
    r->ce = (float)ce;
    r->class_index = best;
    r->score = (float)exp(logit(p, 4 + best) - lse);
    return p->l->box_scale * l1 + class_factor(p) * ce;
}

/* `share`: the weight of the image's loss. */
static __device__ __forceinline__ void
image_gradient(const struct loss_image *p, double lse, double share)
{
    const struct kernel_loss *l = p->l;
    for (int32_t i = 0; i < 4; i++) {
        double s = sigmoid(logit(p, i));
        double off = l->size * s - (double)p->item->box[i];
        double sign = (off > 0) - (off < 0);
        double g = share * l->box_scale / 4 * sign * l->size * s * (1 - s);
        store1(l->dlogits, p->first + (size_t)i, (float)g, l->type);
    }
    double factor = share * class_factor(p);
    for (int32_t i = 0; i < l->classes; i++) {
        double g =
            factor * (exp(logit(p, 4 + i) - lse) - (i == p->item->class_index));
        store1(l->dlogits, p->first + 4 + (size_t)i, (float)g, l->type);
    }
}

static __device__ __forceinline__ void
clear_gradient(const struct kernel_loss *l, size_t first, int32_t from)
{
    for (int32_t i = from; i < l->stride; i++)
        store1(l->dlogits, first + (size_t)i, 0, l->type);
}

/* Image i; returns 1 if its loss is finite. */
static __device__ int compute_image(const struct kernel_loss *l, int32_t i,
                                    double share)
{
    size_t n = (size_t)l->n, image = (size_t)i;
    uint32_t entry = (l->step->n_forwards - 1) % l->capacity;
    struct loss_image p = {l, &l->items[l->step->staging * n + image],
                           image * (size_t)l->stride};
    struct kernel_result r = {0, 0, {0, 0, 0, 0}, 0, 0};
    int padding = p.item->index < 0;
    double loss = 0;
    if (l->dlogits)
        clear_gradient(l, p.first, padding ? 0 : 4 + l->classes);
    if (!padding) {
        int32_t best;
        double lse = log_sum_exp(&p, &best);
        loss = image_loss(&p, lse, best, &r);
        if (l->dlogits)
            image_gradient(&p, lse, share);
        if (l->not_finite && l->not_finite[i]) {
            r.ce = NOT_A_NUMBER;
            loss = (double)NOT_A_NUMBER;
        }
    }
    if (l->not_finite)
        l->not_finite[i] = 0;
    l->results[entry * n + image] = r;
    return is_finite(loss);
}

struct loss_args {
    struct kernel_loss l;
};

KERNEL(compute_loss, loss_args, a)
{
    double bad = 0, share = 1 / (double)a.l.n;
    if (a.l.scaler)
        share = (double)a.l.scaler[0] / (double)a.l.n;
    for (int32_t i = (int32_t)threadIdx.x; i < a.l.n; i += KERNEL_THREADS)
        bad += !compute_image(&a.l, i, share);
    bad = block_sum(bad);
    if (threadIdx.x == 0 && a.l.flag)
        *a.l.flag = bad > 0 ? 1 : 0;
}

int kernel_loss(struct kernel_queue queue, const struct kernel_loss *l)
{
    struct loss_args args = {*l};
    return LAUNCH(compute_loss, queue, 1, 1, args);
}
