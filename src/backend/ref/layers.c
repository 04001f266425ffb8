/*
 * The layers without a window, by PyTorch's definitions: ReLU, add, flatten,
 * dropout, linear, batch norm and the loss; and the dispatch by op. Each
 * forward overwrites l->out; each backward adds to l->grad_in and to the
 * gradients of the parameters, so a node with several readers accumulates.
 *
 * Batch norm, per channel, over n = batch h w values:
 *     xhat = (x - mean) / sqrt(variance + eps)    biased variance
 *     y    = weight xhat + bias
 *     dx   = weight inv_std (dy - (sum(dy) + xhat sum(dy xhat)) / n)
 * With running statistics mean and variance are constants, and the second
 * term of dx is 0. Loss formulas: struct graph_loss (model/graph.h).
 */
#include "backend/ref/layers.h"

#include "backend/ref/layers_window.h"
#include "model/dropout.h"

#include <math.h>
#include <string.h>

/* Elements of the node's value, for the whole batch. */
static size_t layer_count(const struct layer *l)
{
    return (size_t)l->batch * graph_node_count(l->node);
}

/* ---- elementwise ---- */

static void layer_copy_forward(const struct layer *l)
{
    memcpy(l->out, l->in[0], layer_count(l) * sizeof *l->out);
}

static void layer_copy_backward(const struct layer *l)
{
    for (int k = 0; k < 2; k++) {
        if (!l->grad_in[k])
            continue;
        for (size_t i = 0, n = layer_count(l); i < n; i++)
            l->grad_in[k][i] += l->grad_out[i];
    }
}

/* Written so that NaN stays NaN. */
static void layer_relu_forward(const struct layer *l)
{
    for (size_t i = 0, n = layer_count(l); i < n; i++)
        l->out[i] = l->in[0][i] <= 0 ? 0 : l->in[0][i];
}

static void layer_relu_backward(const struct layer *l)
{
    if (!l->grad_in[0])
        return;
    for (size_t i = 0, n = layer_count(l); i < n; i++)
        l->grad_in[0][i] += l->out[i] <= 0 ? 0 : l->grad_out[i];
}

static void layer_add_forward(const struct layer *l)
{
    for (size_t i = 0, n = layer_count(l); i < n; i++)
        l->out[i] = l->in[0][i] + l->in[1][i];
}

/* Scales the values of `in` that are kept and writes them to `out`, or with
 * `adds` adds them to it. */
static void apply_dropout_mask(const struct layer *l, const double *in,
                               double *out, bool adds)
{
    size_t n = graph_node_count(l->node);
    double scale = 1 / (1 - l->node->rate);
    for (int b = 0; b < l->batch; b++) {
        dropout_mask(l->seed, l->items[b].position, l->node->ordinal,
                     l->node->rate, n, l->dropout_mask);
        for (size_t i = 0, at = (size_t)b * n; i < n; i++, at++) {
            double kept = l->dropout_mask[i] ? in[at] * scale : 0;
            out[at] = adds ? out[at] + kept : kept;
        }
    }
}

static void layer_dropout_forward(const struct layer *l)
{
    if (l->training)
        apply_dropout_mask(l, l->in[0], l->out, false);
    else
        layer_copy_forward(l);
}

static void layer_dropout_backward(const struct layer *l)
{
    if (l->grad_in[0])
        apply_dropout_mask(l, l->grad_out, l->grad_in[0], true);
}

/* ---- linear ---- */

static void layer_linear_forward(const struct layer *l)
{
    size_t n_in = (size_t)l->source->c, n_out = (size_t)l->node->c;
    for (size_t o = 0; o < n_out; o++) {
        const double *w = l->weight + o * n_in;
        for (size_t b = 0; b < (size_t)l->batch; b++) {
            const double *x = l->in[0] + b * n_in;
            double sum = l->bias[o];
            for (size_t i = 0; i < n_in; i++)
                sum += w[i] * x[i];
            l->out[b * n_out + o] = sum;
        }
    }
}

static void layer_linear_backward(const struct layer *l)
{
    size_t n_in = (size_t)l->source->c, n_out = (size_t)l->node->c;
    for (size_t o = 0; o < n_out; o++) {
        for (size_t b = 0; b < (size_t)l->batch; b++) {
            double g = l->grad_out[b * n_out + o];
            const double *w = l->weight + o * n_in, *x = l->in[0] + b * n_in;
            if (l->grad_in[0]) {
                double *gx = l->grad_in[0] + b * n_in;
                for (size_t i = 0; i < n_in; i++)
                    gx[i] += g * w[i];
            }
            if (l->grad_weight) {
                double *gw = l->grad_weight + o * n_in;
                for (size_t i = 0; i < n_in; i++)
                    gw[i] += g * x[i];
                l->grad_bias[o] += g;
            }
        }
    }
}

/* ---- batch norm ---- */

bool layer_uses_batch(const struct layer *l)
{
    return l->node->op == GRAPH_NORM && l->training && !l->node->fixed_norm;
}

/* Sets mean, inv_std and unbiased of channel c from the batch. */
static void measure_batch_stats(const struct layer *l, size_t c, size_t plane)
{
    size_t step = (size_t)l->node->c * plane, start = c * plane;
    double n = (double)l->batch * (double)plane, sum = 0, squares = 0;
    for (size_t b = 0; b < (size_t)l->batch; b++) {
        for (size_t i = 0; i < plane; i++)
            sum += l->in[0][start + b * step + i];
    }
    double mean = sum / n;
    for (size_t b = 0; b < (size_t)l->batch; b++) {
        for (size_t i = 0; i < plane; i++) {
            double d = l->in[0][start + b * step + i] - mean;
            squares += d * d;
        }
    }
    l->mean[c] = mean;
    l->inv_std[c] = 1 / sqrt(squares / n + l->graph->norm_eps);
    l->unbiased[c] = squares / (n - 1);
}

static void layer_norm_forward(const struct layer *l)
{
    size_t plane = (size_t)l->node->h * (size_t)l->node->w;
    size_t channels = (size_t)l->node->c;
    for (size_t c = 0; c < channels; c++) {
        if (layer_uses_batch(l))
            measure_batch_stats(l, c, plane);
        double scale = l->inv_std[c] * l->weight[c];
        for (size_t b = 0; b < (size_t)l->batch; b++) {
            size_t at = (b * channels + c) * plane;
            for (size_t i = at; i < at + plane; i++)
                l->out[i] = (l->in[0][i] - l->mean[c]) * scale + l->bias[c];
        }
    }
}

/* The `share` term is the gradient through the batch's mean and variance, which
 * depend on every value of the batch. */
static void layer_norm_backward_channel(const struct layer *l, size_t c,
                                        size_t plane)
{
    size_t step = (size_t)l->node->c * plane, start = c * plane;
    double mean = l->mean[c], inv = l->inv_std[c], sum = 0, sum_g_xhat = 0;
    for (size_t b = 0; b < (size_t)l->batch; b++) {
        for (size_t i = 0, at = start + b * step; i < plane; i++, at++) {
            sum += l->grad_out[at];
            sum_g_xhat += l->grad_out[at] * (l->in[0][at] - mean) * inv;
        }
    }
    if (l->grad_weight) {
        l->grad_weight[c] += sum_g_xhat;
        l->grad_bias[c] += sum;
    }
    if (!l->grad_in[0])
        return;
    double n = (double)l->batch * (double)plane;
    double share = layer_uses_batch(l) ? 1 / n : 0;
    for (size_t b = 0; b < (size_t)l->batch; b++) {
        for (size_t i = 0, at = start + b * step; i < plane; i++, at++) {
            double x = (l->in[0][at] - mean) * inv;
            l->grad_in[0][at] +=
                l->weight[c] * inv *
                (l->grad_out[at] - share * (sum + x * sum_g_xhat));
        }
    }
}

static void layer_norm_backward(const struct layer *l)
{
    size_t plane = (size_t)l->node->h * (size_t)l->node->w;
    for (size_t c = 0; c < (size_t)l->node->c; c++)
        layer_norm_backward_channel(l, c, plane);
}

/* ---- loss ---- */

static double layer_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* log(sum of exp(y)), without overflow; *best is the index of the maximum. */
static double layer_log_sum_exp(const double *y, int n, int *best)
{
    *best = 0;
    for (int i = 1; i < n; i++) {
        if (y[i] > y[*best])
            *best = i;
    }
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp(y[i] - y[*best]);
    return y[*best] + log(sum);
}

static double layer_class_factor(const struct graph_loss *loss, int32_t class)
{
    double w = loss->class_weights ? loss->class_weights[class] : 1;
    return loss->class_scale * w;
}

static void layer_loss_forward(const struct layer *l)
{
    const struct graph_loss *loss = &l->graph->loss;
    for (int b = 0; b < l->batch; b++) {
        const struct batch_item *item = &l->items[b];
        struct result *r = &l->results[b];
        *r = (struct result){0};
        l->out[b] = 0;
        if (item->index < 0)
            continue;
        const double *y = l->in[0] + (size_t)b * (size_t)l->source->c;
        double l1 = 0;
        for (int i = 0; i < 4; i++) {
            double edge = loss->size * layer_sigmoid(y[i]);
            r->box[i] = (float)edge;
            l1 += fabs(edge - (double)item->box[i]) / 4;
        }
        int best;
        double lse = layer_log_sum_exp(y + 4, loss->classes, &best);
        double ce = lse - y[4 + item->class];
        r->l1 = (float)l1;
        r->ce = (float)ce;
        r->class = best;
        r->score = (float)exp(y[4 + best] - lse);
        l->out[b] =
            loss->box_scale * l1 + layer_class_factor(loss, item->class) * ce;
    }
}

static void layer_loss_backward(const struct layer *l)
{
    const struct graph_loss *loss = &l->graph->loss;
    for (int b = 0; l->grad_in[0] && b < l->batch; b++) {
        const struct batch_item *item = &l->items[b];
        if (item->index < 0)
            continue;
        const double *y = l->in[0] + (size_t)b * (size_t)l->source->c;
        double *gy = l->grad_in[0] + (size_t)b * (size_t)l->source->c;
        for (int i = 0; i < 4; i++) {
            double s = layer_sigmoid(y[i]);
            double off = loss->size * s - (double)item->box[i];
            double sign = (off > 0) - (off < 0);
            gy[i] += l->grad_out[b] * loss->box_scale / 4 * sign * loss->size *
                     s * (1 - s);
        }
        int best;
        double lse = layer_log_sum_exp(y + 4, loss->classes, &best);
        double factor = l->grad_out[b] * layer_class_factor(loss, item->class);
        for (int i = 0; i < loss->classes; i++)
            gy[4 + i] += factor * (exp(y[4 + i] - lse) - (i == item->class));
    }
}

/* ---- dispatch by op ---- */

void layer_forward(const struct layer *l)
{
    static void (*const forward[])(const struct layer *) = {
        [GRAPH_CONV] = layer_conv_forward,
        [GRAPH_NORM] = layer_norm_forward,
        [GRAPH_RELU] = layer_relu_forward,
        [GRAPH_ADD] = layer_add_forward,
        [GRAPH_MAXPOOL] = layer_maxpool_forward,
        [GRAPH_FLATTEN] = layer_copy_forward,
        [GRAPH_DROPOUT] = layer_dropout_forward,
        [GRAPH_LINEAR] = layer_linear_forward,
        [GRAPH_LOSS] = layer_loss_forward,
    };
    forward[l->node->op](l);
}

void layer_backward(const struct layer *l)
{
    static void (*const backward[])(const struct layer *) = {
        [GRAPH_CONV] = layer_conv_backward,
        [GRAPH_NORM] = layer_norm_backward,
        [GRAPH_RELU] = layer_relu_backward,
        [GRAPH_ADD] = layer_copy_backward,
        [GRAPH_MAXPOOL] = layer_maxpool_backward,
        [GRAPH_FLATTEN] = layer_copy_backward,
        [GRAPH_DROPOUT] = layer_dropout_backward,
        [GRAPH_LINEAR] = layer_linear_backward,
        [GRAPH_LOSS] = layer_loss_backward,
    };
    backward[l->node->op](l);
}
