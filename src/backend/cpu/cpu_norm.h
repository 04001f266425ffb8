/*
 * Batch norm of one node: statistics, normalization fused with residual add
 * and ReLU, and backward. Blocked maps use the vector kernels of cpu_simd.h;
 * plain values ([n, c, area]) use scalar loops.
 *
 * Sums are split by image and channel block, never by thread: the bits do
 * not depend on the number of threads. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_NORM_H
#define VOCDIST_BACKEND_CPU_NORM_H

#include "backend/cpu/cpu_simd.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct norm {
    int32_t batch, c;
    int blocks; /* 0: plain */
    int width;  /* channels per block */
    size_t area;
    int threads;
    double eps;
    /* Per channel, padding channels included; owned, in one allocation. */
    float *mean, *scale, *shift;   /* y = scale x + shift */
    float *coeffs[3];              /* norm_backward_coeffs */
    float *batch_mean, *batch_var; /* for the exchange; unbiased variance */
    double *inv_std;
    double *sums; /* owned: [batch, blocks, 2 width] */
};

/* weight, bias: [c]. running_mean, running_var: [c], or NULL to compute and use
 * the batch statistics. x, residual, y: maps; residual may be NULL. */
struct norm_forward {
    const float *x, *residual, *weight, *bias;
    const float *running_mean, *running_var;
    bool relu;
    float *y;
};

/* weight_grad, bias_grad: [c], or both NULL. dx may be NULL. */
struct norm_backward {
    /* The caller sets x, g, other, y (whole maps), mask and in_place. */
    struct norm_backward_strip strip;
    const float *weight;
    float *weight_grad, *bias_grad;
    float *dx;
};

/* `width`: channels per block. Set m->threads and m->eps afterwards. */
void norm_init(struct norm *m, int32_t batch, int32_t c, size_t area, int width,
               bool blocked);
void norm_clear(struct norm *m);
void norm_forward(struct norm *m, const struct simd *simd,
                  const struct norm_forward *f);
/* Recomputes y from the x of the last norm_forward(), with the same bits.
 * Blocked maps without residual only. */
void norm_recompute(const struct norm *m, const struct simd *simd,
                    const float *x, bool relu, float *y);
/* Requires a preceding norm_forward() with batch statistics. */
void norm_backward(struct norm *m, const struct simd *simd,
                   const struct norm_backward *b);

#endif
