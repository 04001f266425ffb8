/*
 * Vector kernels, compiled once per vector width (CMake sets SIMD_WIDTH and
 * SIMD_TABLE), with the vector extensions of gcc and clang.
 *
 * Sums over a strip (simd_moments, simd_norm_backward_sums) are blocked
 * summation: four float accumulators per channel over at most 256 pixels, then
 * added in double. Four accumulators hide the latency of the addition; the
 * short blocks bound the rounding error. The order depends on the length only.
 *
 * The optimizer kernels follow torch.optim: Adam, AdamW (decay_factor) and SGD
 * with momentum. All other kernels are element-wise.
 */
#include "backend/cpu/cpu_simd.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* One vector holds the channels of one block for one pixel. */
typedef float vec __attribute__((vector_size(SIMD_WIDTH * 4), aligned(4)));
typedef int32_t mask __attribute__((vector_size(SIMD_WIDTH * 4), aligned(4)));
typedef double wide __attribute__((vector_size(SIMD_WIDTH * 8), aligned(8)));

#define INLINE   static inline __attribute__((always_inline))
#define AT(p, i) (*(vec *)(uintptr_t)((p) + (i)*SIMD_WIDTH))
#define WIDE(v)  __builtin_convertvector((v), wide)

/* Pixels per float sum, before it is added in double. */
#define SUM_BLOCK      256
#define N_ACCUMULATORS 4

struct accumulators {
    vec a[N_ACCUMULATORS], b[N_ACCUMULATORS];
};

INLINE void flush_accumulators(const struct accumulators *s, double *out)
{
    wide a = WIDE((s->a[0] + s->a[1]) + (s->a[2] + s->a[3]));
    wide b = WIDE((s->b[0] + s->b[1]) + (s->b[2] + s->b[3]));
    *(wide *)out += a;
    *(wide *)(out + SIMD_WIDTH) += b;
}

static void simd_moments(const float *x, size_t area, const float *shift,
                         double *out)
{
    const vec origin = AT(shift, 0);
    for (size_t at = 0; at < area; at += SUM_BLOCK) {
        size_t end = at + SUM_BLOCK < area ? at + SUM_BLOCK : area, i = at;
        struct accumulators s;
        memset(&s, 0, sizeof s);
        for (; i + N_ACCUMULATORS <= end; i += N_ACCUMULATORS) {
            for (size_t k = 0; k < N_ACCUMULATORS; k++) {
                vec v = AT(x, i + k) - origin;
                s.a[k] += v;
                s.b[k] += v * v;
            }
        }
        for (; i < end; i++) {
            vec v = AT(x, i) - origin;
            s.a[0] += v;
            s.b[0] += v * v;
        }
        flush_accumulators(&s, out);
    }
}

/* max(v, 0), but NaN stays NaN: an overflow must reach the loss. */
INLINE vec vec_relu(vec v)
{
    return (vec)((mask)v & ~(v <= 0));
}

INLINE void norm_body(float *y, const float *x, const float *residual,
                      size_t area, vec scale, vec shift, bool add, bool relu)
{
    for (size_t i = 0; i < area; i++) {
        vec v = AT(x, i) * scale + shift;
        if (add)
            v += AT(residual, i);
        AT(y, i) = relu ? vec_relu(v) : v;
    }
}

static void simd_norm(float *y, const float *x, const float *residual,
                      size_t area, const float *scale, const float *shift,
                      bool relu)
{
    const vec a = AT(scale, 0), b = AT(shift, 0);
    if (residual && relu)
        norm_body(y, x, residual, area, a, b, true, true);
    else if (residual)
        norm_body(y, x, residual, area, a, b, true, false);
    else if (relu)
        norm_body(y, x, NULL, area, a, b, false, true);
    else
        norm_body(y, x, NULL, area, a, b, false, false);
}

/* The gradient before the ReLU: sum of the parts, masked. */
INLINE vec vec_masked_grad(const struct norm_backward_strip *k, size_t i,
                           enum relu_mask relu_mask, bool add)
{
    vec g = AT(k->g, i);
    if (add)
        g += AT(k->other, i);
    if (relu_mask == RELU_MASK_FROM_OUTPUT)
        return (vec)((mask)g & (AT(k->y, i) > 0));
    if (relu_mask == RELU_MASK_RECOMPUTE)
        return (vec)((mask)g &
                     (AT(k->x, i) * AT(k->scale, 0) + AT(k->shift, 0) > 0));
    return g;
}

INLINE void norm_backward_sums_body(const struct norm_backward_strip *k,
                                    size_t area, double *out,
                                    enum relu_mask relu_mask, bool add,
                                    bool in_place)
{
    const vec mean = AT(k->mean, 0);
    for (size_t at = 0; at < area; at += SUM_BLOCK) {
        size_t end = at + SUM_BLOCK < area ? at + SUM_BLOCK : area, i = at;
        struct accumulators s;
        memset(&s, 0, sizeof s);
        for (; i + N_ACCUMULATORS <= end; i += N_ACCUMULATORS) {
            for (size_t j = 0; j < N_ACCUMULATORS; j++) {
                vec g = vec_masked_grad(k, i + j, relu_mask, add);
                if (in_place)
                    AT(k->g, i + j) = g;
                s.a[j] += g;
                s.b[j] += g * (AT(k->x, i + j) - mean);
            }
        }
        for (; i < end; i++) {
            vec g = vec_masked_grad(k, i, relu_mask, add);
            if (in_place)
                AT(k->g, i) = g;
            s.a[0] += g;
            s.b[0] += g * (AT(k->x, i) - mean);
        }
        flush_accumulators(&s, out);
    }
}

#define NORM_BACKWARD_SUMS(relu_mask, add, in_place) \
    norm_backward_sums_body(k, area, out, (relu_mask), (add), (in_place))

static void simd_norm_backward_sums(const struct norm_backward_strip *k,
                                    size_t area, double *out)
{
    bool add = k->other != NULL;
    switch (k->mask) {
    case RELU_MASK_NONE:
        if (add)
            NORM_BACKWARD_SUMS(RELU_MASK_NONE, true, true);
        else
            NORM_BACKWARD_SUMS(RELU_MASK_NONE, false, false);
        break;
    case RELU_MASK_FROM_OUTPUT:
        if (add)
            NORM_BACKWARD_SUMS(RELU_MASK_FROM_OUTPUT, true, true);
        else
            NORM_BACKWARD_SUMS(RELU_MASK_FROM_OUTPUT, false, true);
        break;
    case RELU_MASK_RECOMPUTE:
        if (add)
            NORM_BACKWARD_SUMS(RELU_MASK_RECOMPUTE, true, true);
        else if (k->in_place)
            NORM_BACKWARD_SUMS(RELU_MASK_RECOMPUTE, false, true);
        else
            NORM_BACKWARD_SUMS(RELU_MASK_RECOMPUTE, false, false);
        break;
    }
}

INLINE void norm_backward_body(float *dx, const struct norm_backward_strip *k,
                               size_t area,
                               const struct norm_backward_coeffs *coeffs,
                               enum relu_mask relu_mask)
{
    const vec a = AT(coeffs->a, 0), b = AT(coeffs->b, 0), c = AT(coeffs->c, 0);
    const vec mean = AT(k->mean, 0);
    for (size_t i = 0; i < area; i++) {
        vec g = vec_masked_grad(k, i, relu_mask, false);
        AT(dx, i) = a * (g - b - (AT(k->x, i) - mean) * c);
    }
}

static void simd_norm_backward(float *dx, const struct norm_backward_strip *k,
                               size_t area,
                               const struct norm_backward_coeffs *coeffs)
{
    if (k->mask == RELU_MASK_RECOMPUTE && !k->in_place)
        norm_backward_body(dx, k, area, coeffs, RELU_MASK_RECOMPUTE);
    else /* masked in place by the sums, or no mask */
        norm_backward_body(dx, k, area, coeffs, RELU_MASK_NONE);
}

/* ---- any length ---- */

static void simd_relu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] <= 0 ? 0 : x[i];
}

static void simd_relu_backward(float *dx, const float *g, const float *y,
                               size_t n)
{
    for (size_t i = 0; i < n; i++)
        dx[i] = y[i] > 0 ? g[i] : 0;
}

static void simd_add(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

static void simd_multiply(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * b[i];
}

static double simd_sum_squares(const float *x, size_t n)
{
    /* Sixteen sums for every vector width, so the bits are the same. */
    double sums[16] = {0}, total = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t k = 0; k < 16; k++)
            sums[k] += (double)x[i + k] * (double)x[i + k];
    }
    for (size_t k = 0; i < n; i++, k++)
        sums[k] += (double)x[i] * (double)x[i];
    for (size_t k = 0; k < 16; k++)
        total += sums[k];
    return total;
}

static void simd_adam(float *restrict p, float *restrict m, float *restrict v,
                      const float *restrict g, size_t n,
                      const struct optim_coeffs *r)
{
    const float b1 = r->beta1, b2 = r->beta2;
    const float c1 = r->one_minus_beta1, c2 = r->one_minus_beta2;
    for (size_t i = 0; i < n; i++) {
        float w = p[i] * r->decay_factor;
        float grad = g[i] * r->grad_scale + r->weight_decay * p[i];
        float m1 = b1 * m[i] + c1 * grad;
        float v1 = b2 * v[i] + c2 * (grad * grad);
        m[i] = m1;
        v[i] = v1;
        p[i] = w - r->step_size *
                       (m1 / (sqrtf(v1) / r->bias_correction2_sqrt + r->eps));
    }
}

static void simd_sgd(float *restrict p, float *restrict m,
                     const float *restrict g, size_t n,
                     const struct optim_coeffs *r)
{
    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * r->grad_scale + r->weight_decay * p[i];
        float m1 = r->momentum * m[i] + grad;
        m[i] = m1;
        p[i] -= r->lr * m1;
    }
}

const struct simd SIMD_TABLE = {
    .moments = simd_moments,
    .norm = simd_norm,
    .norm_backward_sums = simd_norm_backward_sums,
    .norm_backward = simd_norm_backward,
    .relu = simd_relu,
    .relu_backward = simd_relu_backward,
    .add = simd_add,
    .multiply = simd_multiply,
    .sum_squares = simd_sum_squares,
    .adam = simd_adam,
    .sgd = simd_sgd,
};
