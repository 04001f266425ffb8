/*
 * The layers with a sliding window: convolution and max pooling, direct loops.
 *
 * A convolution is the set of all products out[y][x] += w[ky][kx] in[v][u] with
 * v = y stride + ky - pad, u = x stride + kx - pad, per image, output channel
 * and input channel. for_each_row() visits them in rows that share one weight
 * and calls conv_row_forward(), conv_row_backward_data() or
 * conv_row_backward_weight() on each. Products with padding are skipped, not
 * multiplied by 0. Max pooling searches the maximum again in backward instead
 * of storing its index.
 */
#include "backend/ref/layers_window.h"

#include <math.h>

/* ---- convolution ---- */

/*
 * One row of products: n adjacent outputs, the n inputs, `stride` apart, that
 * belong to them, and the one weight that connects each pair. All three passes
 * are sums over the same rows.
 */
struct conv_row {
    double *out, *in, *weight;
    size_t n, stride;
};
typedef void conv_row_fn(const struct conv_row *row);

static void conv_row_forward(const struct conv_row *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->out[i] += *r->weight * r->in[i * r->stride];
}

static void conv_row_backward_data(const struct conv_row *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->in[i * r->stride] += *r->weight * r->out[i];
}

static void conv_row_backward_weight(const struct conv_row *r)
{
    double sum = 0;
    for (size_t i = 0; i < r->n; i++)
        sum += r->out[i] * r->in[i * r->stride];
    *r->weight += sum;
}

/* The range [first, end) of the `n_outputs` outputs along one axis for which
 * kernel element `at` reads inside the input, which has `side` elements. */
static void valid_outputs(const struct graph_node *node, int32_t at,
                          int32_t n_outputs, int32_t side, int32_t *first,
                          int32_t *end)
{
    int32_t s = node->stride, back = node->pad - at;
    *first = back > 0 ? (back + s - 1) / s : 0;
    *end = side + back > 0 ? (side + back + s - 1) / s : 0;
    if (*end > n_outputs)
        *end = n_outputs;
}

/* Visits all rows of weight (ky, kx) between one input and one output plane. */
static void for_each_plane_row(const struct layer *l, int32_t ky, int32_t kx,
                               double *in, double *out, double *weight,
                               conv_row_fn *visit)
{
    const struct graph_node *node = l->node;
    int32_t y0, y1, x0, x1, side = l->source->w;
    valid_outputs(node, ky, node->h, l->source->h, &y0, &y1);
    valid_outputs(node, kx, node->w, side, &x0, &x1);
    if (x0 >= x1)
        return;
    struct conv_row row = {.weight = weight,
                           .n = (size_t)(x1 - x0),
                           .stride = (size_t)node->stride};
    for (int32_t y = y0; y < y1; y++) {
        int32_t in_y = y * node->stride + ky - node->pad;
        int32_t in_x = x0 * node->stride + kx - node->pad;
        row.out = out + (size_t)y * (size_t)node->w + x0;
        row.in = in + (size_t)in_y * (size_t)side + in_x;
        visit(&row);
    }
}

/* Visits all rows of a convolution; `weight` is [out, in, k, k]. */
static void for_each_row(const struct layer *l, double *in, double *out,
                         double *weight, conv_row_fn *visit)
{
    size_t n_in = (size_t)l->source->c, n_out = (size_t)l->node->c;
    size_t in_plane = (size_t)l->source->h * (size_t)l->source->w;
    size_t out_plane = (size_t)l->node->h * (size_t)l->node->w;
    int32_t k = l->node->kernel;
    for (size_t b = 0; b < (size_t)l->batch; b++) {
        for (size_t o = 0; o < n_out; o++) {
            double *w = weight + o * n_in * (size_t)(k * k);
            for (size_t i = 0; i < n_in; i++) {
                for (int32_t at = 0; at < k * k; at++)
                    for_each_plane_row(
                        l, at / k, at % k, in + (b * n_in + i) * in_plane,
                        out + (b * n_out + o) * out_plane, w++, visit);
            }
        }
    }
}

void layer_conv_forward(const struct layer *l)
{
    size_t n = (size_t)l->batch * graph_node_count(l->node);
    for (size_t i = 0; i < n; i++)
        l->out[i] = 0;
    for_each_row(l, l->in[0], l->out, l->weight, conv_row_forward);
}

void layer_conv_backward(const struct layer *l)
{
    if (l->grad_weight)
        for_each_row(l, l->in[0], l->grad_out, l->grad_weight,
                     conv_row_backward_weight);
    if (l->grad_in[0])
        for_each_row(l, l->grad_in[0], l->grad_out, l->weight,
                     conv_row_backward_data);
}

/* ---- max pooling ---- */

/* Index in the plane of the maximum of window (y, x); the first one of equal
 * values; NaN counts as greatest. */
static size_t argmax_in_window(const struct layer *l, const double *plane,
                               int32_t y, int32_t x)
{
    const struct graph_node *node = l->node;
    int32_t top = y * node->stride - node->pad;
    int32_t left = x * node->stride - node->pad;
    size_t best = SIZE_MAX;
    for (int32_t v = top; v < top + node->kernel; v++) {
        for (int32_t u = left; u < left + node->kernel; u++) {
            if (v < 0 || u < 0 || v >= l->source->h || u >= l->source->w)
                continue;
            size_t at = (size_t)v * (size_t)l->source->w + (size_t)u;
            if (best == SIZE_MAX || plane[at] > plane[best] || isnan(plane[at]))
                best = at;
        }
    }
    return best;
}

/* Forward, or with `back` adds the gradient of each output to its input. */
static void maxpool_pass(const struct layer *l, bool back)
{
    size_t in_plane = (size_t)l->source->h * (size_t)l->source->w, at = 0;
    size_t n_planes = (size_t)l->batch * (size_t)l->node->c;
    for (size_t p = 0; p < n_planes; p++) {
        const double *plane = l->in[0] + p * in_plane;
        for (int32_t y = 0; y < l->node->h; y++) {
            for (int32_t x = 0; x < l->node->w; x++, at++) {
                size_t from = argmax_in_window(l, plane, y, x);
                if (back)
                    l->grad_in[0][p * in_plane + from] += l->grad_out[at];
                else
                    l->out[at] = plane[from];
            }
        }
    }
}

void layer_maxpool_forward(const struct layer *l)
{
    maxpool_pass(l, false);
}

void layer_maxpool_backward(const struct layer *l)
{
    if (l->grad_in[0])
        maxpool_pass(l, true);
}
