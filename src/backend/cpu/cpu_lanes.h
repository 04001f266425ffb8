/*
 * Our own inner loops, compiled once per vector width (cpu_lanes.c): batch
 * norm with residual add and ReLU, gradient sums, optimizer rules.
 *
 * A "strip" is one channel block of one picture, [area][lanes], where lanes is
 * dnn_block(); per-channel values come as [lanes]. Every sum has an order that
 * depends on the length alone. Single-threaded; threads share work by strips.
 */
#ifndef VOCDIST_BACKEND_CPU_LANES_H
#define VOCDIST_BACKEND_CPU_LANES_H

#include <stdbool.h>
#include <stddef.h>

#define LANES_MAX 16

/* Which gradients pass the ReLU: all, those with y > 0 (y is read), or those
 * where scale x + shift > 0 (y was exactly that: recomputed, not read). */
enum lanes_mask { LANES_ALL, LANES_Y, LANES_AGAIN };

struct lanes_back {
    const float *x;
    float *g;           /* gradient of y; masked and summed into if `keep` */
    const float *other; /* second gradient to add, or NULL; needs `keep` */
    const float *y;     /* LANES_Y */
    const float *scale, *shift; /* [lanes], LANES_AGAIN */
    const float *mean;          /* [lanes] */
    enum lanes_mask mask;
    bool keep;
};

/* Per element: g' = g (masked); dx = a (g' - b - (x - mean) c). */
struct lanes_slope {
    const float *a, *b, *c; /* [lanes] */
};

/* One rule for all elements of a run. */
struct lanes_rule {
    float scale; /* of the gradient: clipping */
    float lr, beta1, beta2, eps, decay, momentum;
    float rest1, rest2;    /* 1 - beta, rounded once */
    float step_size;       /* Adam: lr / (1 - beta1^t) */
    float root_correction; /* Adam: sqrt(1 - beta2^t) */
    float shrink;          /* AdamW: 1 - lr decay; else 1 */
};

struct lanes {
    /* sums[0..lanes) += x - shift, sums[lanes..) += (x - shift)^2 */
    void (*moments)(const float *x, size_t area, const float *shift,
                    double *sums);
    /* y = scale x + shift (+ residual) (ReLU) */
    void (*norm)(float *y, const float *x, const float *residual, size_t area,
                 const float *scale, const float *shift, bool relu);
    /* sums[0..lanes) += g', sums[lanes..) += g' (x - mean) */
    void (*norm_back_sums)(const struct lanes_back *back, size_t area,
                           double *sums);
    void (*norm_back)(float *dx, const struct lanes_back *back, size_t area,
                      const struct lanes_slope *slope);

    /* These take any length. */
    void (*relu)(float *y, const float *x, size_t n);
    void (*relu_back)(float *dx, const float *g, const float *y, size_t n);
    void (*add)(float *out, const float *a, const float *b, size_t n);
    void (*multiply)(float *out, const float *a, const float *b, size_t n);
    double (*sum_squares)(const float *x, size_t n);
    void (*adam)(float *p, float *m, float *v, const float *g, size_t n,
                 const struct lanes_rule *rule);
    void (*sgd)(float *p, float *m, const float *g, size_t n,
                const struct lanes_rule *rule);
};

/* For the instruction set in effect. */
const struct lanes *lanes_get(void);

/* One per compilation of cpu_lanes.c. */
extern const struct lanes lanes_512, lanes_256;

#endif
