/* Compiled once per vector width: LANES and LANES_TABLE come from CMake. */
#include "backend/cpu/cpu_lanes.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Vectors of the compiler (gcc and clang): one channel block each. */
typedef float vec __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4), aligned(4)));
typedef double wide __attribute__((vector_size(LANES * 8), aligned(8)));

#define INLINE   static inline __attribute__((always_inline))
#define AT(p, i) (*(vec *)(uintptr_t)((p) + (i)*LANES))
#define WIDE(v)  __builtin_convertvector((v), wide)

/* Float sums stay this short before they are added up in double. */
#define RUN      256
#define PARALLEL 4

struct sums {
    vec a[PARALLEL], b[PARALLEL];
};

INLINE void add_up(const struct sums *s, double *out)
{
    wide a = WIDE((s->a[0] + s->a[1]) + (s->a[2] + s->a[3]));
    wide b = WIDE((s->b[0] + s->b[1]) + (s->b[2] + s->b[3]));
    *(wide *)out += a;
    *(wide *)(out + LANES) += b;
}

static void moments(const float *x, size_t area, const float *shift,
                    double *out)
{
    const vec origin = AT(shift, 0);
    for (size_t at = 0; at < area; at += RUN) {
        size_t end = at + RUN < area ? at + RUN : area, i = at;
        struct sums s;
        memset(&s, 0, sizeof s);
        for (; i + PARALLEL <= end; i += PARALLEL) {
            for (size_t k = 0; k < PARALLEL; k++) {
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
        add_up(&s, out);
    }
}

/* v where it is above 0, else 0; NaN stays NaN, so that it is noticed. */
INLINE vec positive(vec v)
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
        AT(y, i) = relu ? positive(v) : v;
    }
}

static void norm(float *y, const float *x, const float *residual, size_t area,
                 const float *scale, const float *shift, bool relu)
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

/* The gradient in front of the ReLU. */
INLINE vec masked(const struct lanes_back *k, size_t i, enum lanes_mask how,
                  bool add)
{
    vec g = AT(k->g, i);
    if (add)
        g += AT(k->other, i);
    if (how == LANES_Y)
        return (vec)((mask)g & (AT(k->y, i) > 0));
    if (how == LANES_AGAIN)
        return (vec)((mask)g &
                     (AT(k->x, i) * AT(k->scale, 0) + AT(k->shift, 0) > 0));
    return g;
}

INLINE void back_sums_body(const struct lanes_back *k, size_t area, double *out,
                           enum lanes_mask how, bool add, bool keep)
{
    const vec mean = AT(k->mean, 0);
    for (size_t at = 0; at < area; at += RUN) {
        size_t end = at + RUN < area ? at + RUN : area, i = at;
        struct sums s;
        memset(&s, 0, sizeof s);
        for (; i + PARALLEL <= end; i += PARALLEL) {
            for (size_t j = 0; j < PARALLEL; j++) {
                vec g = masked(k, i + j, how, add);
                if (keep)
                    AT(k->g, i + j) = g;
                s.a[j] += g;
                s.b[j] += g * (AT(k->x, i + j) - mean);
            }
        }
        for (; i < end; i++) {
            vec g = masked(k, i, how, add);
            if (keep)
                AT(k->g, i) = g;
            s.a[0] += g;
            s.b[0] += g * (AT(k->x, i) - mean);
        }
        add_up(&s, out);
    }
}

#define BACK_SUMS(how, add, keep) \
    back_sums_body(k, area, out, (how), (add), (keep))

static void norm_back_sums(const struct lanes_back *k, size_t area, double *out)
{
    bool add = k->other != NULL;
    switch (k->mask) {
    case LANES_ALL:
        if (add)
            BACK_SUMS(LANES_ALL, true, true);
        else
            BACK_SUMS(LANES_ALL, false, false);
        break;
    case LANES_Y:
        if (add)
            BACK_SUMS(LANES_Y, true, true);
        else
            BACK_SUMS(LANES_Y, false, true);
        break;
    case LANES_AGAIN:
        if (add)
            BACK_SUMS(LANES_AGAIN, true, true);
        else if (k->keep)
            BACK_SUMS(LANES_AGAIN, false, true);
        else
            BACK_SUMS(LANES_AGAIN, false, false);
        break;
    }
}

INLINE void back_body(float *dx, const struct lanes_back *k, size_t area,
                      const struct lanes_slope *slope, enum lanes_mask how)
{
    const vec a = AT(slope->a, 0), b = AT(slope->b, 0), c = AT(slope->c, 0);
    const vec mean = AT(k->mean, 0);
    for (size_t i = 0; i < area; i++) {
        vec g = masked(k, i, how, false);
        AT(dx, i) = a * (g - b - (AT(k->x, i) - mean) * c);
    }
}

static void norm_back(float *dx, const struct lanes_back *k, size_t area,
                      const struct lanes_slope *slope)
{
    if (k->mask == LANES_AGAIN && !k->keep)
        back_body(dx, k, area, slope, LANES_AGAIN);
    else /* already masked in place, or nothing to mask */
        back_body(dx, k, area, slope, LANES_ALL);
}

/* ---- any length ---- */

static void relu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] <= 0 ? 0 : x[i];
}

static void relu_back(float *dx, const float *g, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dx[i] = y[i] > 0 ? g[i] : 0;
}

static void add(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

static void multiply(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * b[i];
}

static double sum_squares(const float *x, size_t n)
{
    /* Sixteen sums at every vector width: the same bits everywhere. */
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

static void adam(float *restrict p, float *restrict m, float *restrict v,
                 const float *restrict g, size_t n, const struct lanes_rule *r)
{
    const float b1 = r->beta1, b2 = r->beta2;
    const float c1 = r->rest1, c2 = r->rest2;
    for (size_t i = 0; i < n; i++) {
        float w = p[i] * r->shrink;
        float grad = g[i] * r->scale + r->decay * p[i];
        float m1 = b1 * m[i] + c1 * grad;
        float v1 = b2 * v[i] + c2 * (grad * grad);
        m[i] = m1;
        v[i] = v1;
        p[i] =
            w - r->step_size * (m1 / (sqrtf(v1) / r->root_correction + r->eps));
    }
}

static void sgd(float *restrict p, float *restrict m, const float *restrict g,
                size_t n, const struct lanes_rule *r)
{
    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * r->scale + r->decay * p[i];
        float m1 = r->momentum * m[i] + grad;
        m[i] = m1;
        p[i] -= r->lr * m1;
    }
}

const struct lanes LANES_TABLE = {
    .moments = moments,
    .norm = norm,
    .norm_back_sums = norm_back_sums,
    .norm_back = norm_back,
    .relu = relu,
    .relu_back = relu_back,
    .add = add,
    .multiply = multiply,
    .sum_squares = sum_squares,
    .adam = adam,
    .sgd = sgd,
};
