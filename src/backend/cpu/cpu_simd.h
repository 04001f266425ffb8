/*
 * The backend's vector kernels, compiled once per vector width (cpu_simd.c):
 * batch norm with residual add and ReLU, gradient sums, optimizer steps.
 *
 * A "strip" is one channel block of one image, [area][width], where width is
 * dnn_block(); per-channel arguments are [width]. The order of every sum
 * depends on the length alone. Single-threaded: callers distribute strips over
 * threads. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_SIMD_H
#define VOCDIST_BACKEND_CPU_SIMD_H

#include <stdbool.h>
#include <stddef.h>

#define SIMD_MAX_WIDTH 16

/* Which gradients pass the ReLU: all; those with y > 0 (reads y); those with
 * scale x + shift > 0 (recomputes y exactly, does not read it). */
enum relu_mask { RELU_MASK_NONE, RELU_MASK_FROM_OUTPUT, RELU_MASK_RECOMPUTE };

struct norm_backward_strip {
    const float *x;
    float *g;           /* gradient of y */
    const float *other; /* second part of it, or NULL; requires `in_place` */
    const float *y;     /* RELU_MASK_FROM_OUTPUT */
    const float *scale, *shift; /* [width], RELU_MASK_RECOMPUTE */
    const float *mean;          /* [width] */
    enum relu_mask mask;
    bool in_place; /* norm_backward_sums writes the masked sum into g */
};

/* dx = a (g' - b - (x - mean) c) per element, with g' the masked gradient. */
struct norm_backward_coeffs {
    const float *a, *b, *c; /* [width] */
};

/* Equal for all elements of a parameter group. */
struct optim_coeffs {
    float grad_scale; /* factor of gradient clipping, 1: none */
    float lr, beta1, beta2, eps, weight_decay, momentum;
    float one_minus_beta1, one_minus_beta2; /* 1 - beta, rounded once */
    float step_size;                        /* Adam: lr / (1 - beta1^t) */
    float bias_correction2_sqrt;            /* Adam: sqrt(1 - beta2^t) */
    float decay_factor; /* AdamW: 1 - lr weight_decay; else 1 */
};

struct simd {
    /* sums[0..width) += x - shift, sums[width..) += (x - shift)^2 */
    void (*moments)(const float *x, size_t area, const float *shift,
                    double *sums);
    /* y = scale x + shift (+ residual) (ReLU) */
    void (*norm)(float *y, const float *x, const float *residual, size_t area,
                 const float *scale, const float *shift, bool relu);
    /* sums[0..width) += g', sums[width..) += g' (x - mean) */
    void (*norm_backward_sums)(const struct norm_backward_strip *back,
                               size_t area, double *sums);
    void (*norm_backward)(float *dx, const struct norm_backward_strip *back,
                          size_t area,
                          const struct norm_backward_coeffs *coeffs);

    /* Element-wise kernels and sums of any length n. */
    void (*relu)(float *y, const float *x, size_t n);
    void (*relu_backward)(float *dx, const float *g, const float *y, size_t n);
    void (*add)(float *out, const float *a, const float *b, size_t n);
    void (*multiply)(float *out, const float *a, const float *b, size_t n);
    double (*sum_squares)(const float *x, size_t n);
    /* Update p and the moments m, v (sgd: the momentum m) in place. */
    void (*adam)(float *p, float *m, float *v, const float *g, size_t n,
                 const struct optim_coeffs *coeffs);
    void (*sgd)(float *p, float *m, const float *g, size_t n,
                const struct optim_coeffs *coeffs);
};

/* The kernels for the instruction set in effect. */
const struct simd *simd_get(void);

/* One table per compilation of cpu_simd.c. */
extern const struct simd simd_512, simd_256;

#endif
