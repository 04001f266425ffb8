/*
 * Loss (formulas: struct graph_loss in model/graph.h) and dropout (mask:
 * model/dropout.h). The loss is computed in double, in scalar loops: its cost
 * is negligible. The cross entropy is the log-sum-exp of the logits minus the
 * label's logit; the greatest logit is subtracted before exp, so that it cannot
 * overflow.
 */
#include "backend/cpu/cpu_head.h"

#include "model/dropout.h"

#include <math.h>
#include <string.h>

/* ---- loss ---- */

/* One image: its logits and its label. */
struct loss_sample {
    const struct graph_loss *loss;
    const struct batch_item *item;
    const float *y; /* [4 + classes] */
};

static double loss_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double loss_log_sum_exp(const struct loss_sample *p, int *best)
{
    const float *y = p->y + 4;
    double sum = 0;
    *best = 0;
    for (int i = 1; i < p->loss->classes; i++) {
        if (y[i] > y[*best])
            *best = i;
    }
    for (int i = 0; i < p->loss->classes; i++)
        sum += exp((double)y[i] - (double)y[*best]);
    return (double)y[*best] + log(sum);
}

static double loss_class_factor(const struct loss_sample *p)
{
    const double *weights = p->loss->class_weights;
    return p->loss->class_scale * (weights ? weights[p->item->class] : 1);
}

static double sample_loss(const struct loss_sample *p, struct result *r)
{
    double l1 = 0;
    int best;
    for (int i = 0; i < 4; i++) {
        double edge = p->loss->size * loss_sigmoid((double)p->y[i]);
        r->box[i] = (float)edge;
        l1 += fabs(edge - (double)p->item->box[i]) / 4;
    }
    double lse = loss_log_sum_exp(p, &best);
    double ce = lse - (double)p->y[4 + p->item->class];
    r->l1 = (float)l1;
    r->ce = (float)ce;
    r->class = best;
    r->score = (float)exp((double)p->y[4 + best] - lse);
    return p->loss->box_scale * l1 + loss_class_factor(p) * ce;
}

/* `share`: the image's weight in the micro-batch's loss. */
static void sample_loss_grad(const struct loss_sample *p, double share,
                             float *grad)
{
    int best;
    for (int i = 0; i < 4; i++) {
        double s = loss_sigmoid((double)p->y[i]);
        double off = p->loss->size * s - (double)p->item->box[i];
        double sign = (off > 0) - (off < 0);
        grad[i] = (float)(share * p->loss->box_scale / 4 * sign *
                          p->loss->size * s * (1 - s));
    }
    double lse = loss_log_sum_exp(p, &best),
           factor = share * loss_class_factor(p);
    for (int i = 0; i < p->loss->classes; i++) {
        double wrong = exp((double)p->y[4 + i] - lse);
        grad[4 + i] = (float)(factor * (wrong - (i == p->item->class)));
    }
}

static struct loss_sample loss_sample_of(const struct loss_batch *b, int i)
{
    return (struct loss_sample){b->loss, &b->items[i],
                                b->logits +
                                    (ptrdiff_t)i * (4 + b->loss->classes)};
}

bool loss_forward(const struct loss_batch *b, const bool *overflowed,
                  float *losses, struct result *results)
{
    bool finite = true;
    for (int i = 0; i < b->n; i++) {
        struct loss_sample p = loss_sample_of(b, i);
        struct result *r = &results[i];
        *r = (struct result){0};
        double loss = p.item->index < 0 ? 0 : sample_loss(&p, r);
        if (overflowed[i] && p.item->index >= 0) {
            r->ce = NAN;
            loss = (double)NAN;
        }
        losses[i] = (float)loss;
        finite = finite && isfinite(loss);
    }
    return finite;
}

void loss_backward(const struct loss_batch *b, float *grads)
{
    int width = 4 + b->loss->classes;
    for (int i = 0; i < b->n; i++) {
        struct loss_sample p = loss_sample_of(b, i);
        float *grad = grads + (ptrdiff_t)i * width;
        memset(grad, 0, (size_t)width * sizeof *grad);
        if (p.item->index >= 0)
            sample_loss_grad(&p, 1.0 / b->n, grad);
    }
}

/* ---- dropout ---- */

void dropout_draw_factors(const struct dropout_batch *b, float *factors)
{
    const struct graph_node *node = b->node;
    size_t n = graph_node_count(node), padded = b->padded;
    size_t area = (size_t)node->h * (size_t)node->w, block = (size_t)b->block;
    float factor = (float)(1 / (1 - node->rate));
#pragma omp parallel for num_threads(b->threads) schedule(static)
    for (int i = 0; i < b->n; i++) {
        uint8_t *mask = b->mask + (size_t)i * n;
        float *out = factors + (size_t)i * padded;
        dropout_mask(b->seed, b->items[i].position, node->ordinal, node->rate,
                     n, mask);
        for (size_t k = 0; k < padded; k++) {
            /* Element k of a blocked map (block 1: plain) is in channel c. */
            size_t c = k / (area * block) * block + k % block;
            size_t at = c * area + k / block % area;
            out[k] = at < n && mask[at] ? factor : 0;
        }
    }
}
