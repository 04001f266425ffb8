/*
 * Batch norm of one node: statistics, normalisation with residual add and
 * ReLU in the same pass, and both passes of backward. Maps in channel blocks
 * take the fast way, plain values ([n, c, area]) a simple one.
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
    /* Per channel, padding included; owned, in one allocation. */
    float *mean, *scale, *shift;   /* y = scale x + shift */
    float *coeffs[3];              /* norm_backward_coeffs */
    float *batch_mean, *batch_var; /* what goes to the exchange; unbiased */
    double *inv_std;
    double *sums; /* owned: [batch, blocks, 2 width] */
};

/* weight, bias [c] of the norm; running statistics [c]: NULL to use and
 * compute those of the batch. */
struct norm_forward {
    const float *x, *residual, *weight, *bias;
    const float *running_mean, *running_var;
    bool relu;
    float *y;
};

/* Gradients of weight and bias [c], or NULL. dx may be NULL. */
struct norm_backward {
    struct norm_backward_strip strip; /* x, g, other, y, mask, in_place are set
                               by the caller; pointers to the first strip */
    const float *weight;
    float *weight_grad, *bias_grad;
    float *dx;
};

/* Then set `threads` and `eps`. */
void norm_init(struct norm *m, int32_t batch, int32_t c, size_t area, int width,
               bool blocked);
void norm_clear(struct norm *m);
void norm_forward(struct norm *m, const struct simd *simd,
                  const struct norm_forward *f);
/* y once more, with the same bits, from the x of the last norm_forward; maps
 * in channel blocks only. */
void norm_recompute(const struct norm *m, const struct simd *simd,
                    const float *x, bool relu, float *y);
/* After norm_forward with batch statistics. */
void norm_backward(struct norm *m, const struct simd *simd,
                   const struct norm_backward *b);

#endif
