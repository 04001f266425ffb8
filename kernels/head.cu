/*
 * The head without its products: ReLU and dropout, and the end of a linear
 * layer (sum of partial products, bias, ReLU) with its backward.
 *
 * Dropout draws Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
 * as 1, 2, 3", SC11) with the keys of model/dropout.h. An NHWC vector of 8
 * channels has 8 indexes that are `area` apart, so each element needs its own
 * block of four words, of which one is used: about 100 integer operations, less
 * than the time of its memory access.
 */
#include "kernels_internal.h"

/* As enum rng_stream. */
#define STREAM_DROPOUT 3u

/* ---- dropout ---- */

struct philox {
    uint32_t c0, c1, c2, c3;
};

static __device__ __forceinline__ uint32_t high_product(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

static __device__ __forceinline__ struct philox
philox_words(uint64_t seed, uint64_t position, uint32_t element)
{
    struct philox w = {(uint32_t)position, (uint32_t)(position >> 32), element,
                       STREAM_DROPOUT};
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        struct philox next = {
            high_product(0xCD9E8D57u, w.c2) ^ w.c1 ^ key0, 0xCD9E8D57u * w.c2,
            high_product(0xD2511F53u, w.c0) ^ w.c3 ^ key1, 0xD2511F53u * w.c0};
        w = next;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return w;
}

struct dropout_args {
    struct kernel_dropout d;
    const void *x, *dy; /* dy NULL: forward */
    void *out;
};

/* 1: element `index` of the image is kept. */
static __device__ __forceinline__ int keeps(const struct kernel_dropout *d,
                                            uint64_t position, uint32_t index)
{
    uint32_t element = ((uint32_t)d->ordinal << 24) + index / 4;
    struct philox w = philox_words(d->step->scalars.seed, position, element);
    uint32_t low = index % 2 ? w.c1 : w.c0, high = index % 2 ? w.c3 : w.c2;
    uint32_t word = index % 4 < 2 ? low : high;
    return !((double)word < d->rate * 4294967296.0);
}

static __device__ __forceinline__ void
dropout_vector(const struct dropout_args *a, size_t row, uint32_t channel)
{
    const struct kernel_dropout *d = &a->d;
    uint32_t area = (uint32_t)d->area, pixel = (uint32_t)(row % area);
    size_t i = row * (size_t)d->c + channel, image = row / area;
    uint64_t position =
        d->items[d->step->staging * (size_t)d->n + image].position;
    float scale = (float)(1 / (1 - d->rate)), x[8], v[8];
    if (d->relu || !a->dy)
        load8(a->x, i, d->type, x);
    if (a->dy)
        load8(a->dy, i, d->type, v);
    for (uint32_t k = 0; k < 8; k++) {
        float value = a->dy ? v[k] : x[k];
        if (d->relu)
            value = x[k] <= 0 ? 0 : value;
        v[k] = keeps(d, position, (channel + k) * area + pixel) ? value * scale
                                                                : 0;
    }
    store8(a->out, i, d->type, v);
}

KERNEL(apply_dropout, dropout_args, a)
{
    uint32_t vectors = (uint32_t)a.d.c / 8;
    size_t n = (size_t)a.d.n * (size_t)a.d.area * vectors;
    size_t i = (size_t)blockIdx.x * KERNEL_THREADS + threadIdx.x;
    for (; i < n; i += (size_t)gridDim.x * KERNEL_THREADS)
        dropout_vector(&a, i / vectors, (uint32_t)(i % vectors) * 8);
}

static int launch_dropout(struct kernel_queue queue,
                          const struct dropout_args *args)
{
    size_t n = (size_t)args->d.n * (size_t)args->d.area * (size_t)args->d.c / 8;
    size_t blocks = (n + KERNEL_THREADS - 1) / KERNEL_THREADS;
    return LAUNCH(apply_dropout, queue, grid_blocks(queue, blocks, 1), 1,
                  *args);
}

int kernel_dropout_forward(struct kernel_queue queue,
                           const struct kernel_dropout *d, const void *x,
                           void *y)
{
    struct dropout_args args = {*d, x, NULL, y};
    return launch_dropout(queue, &args);
}

int kernel_dropout_backward(struct kernel_queue queue,
                            const struct kernel_dropout *d, const void *x,
                            const void *dy, void *dx)
{
    struct dropout_args args = {*d, x, dy, dx};
    return launch_dropout(queue, &args);
}

/* ---- the end of a linear layer ---- */

struct bias_args {
    struct kernel_bias b;
};

static __device__ __forceinline__ void bias_vector(const struct kernel_bias *b,
                                                   size_t row, size_t channel)
{
    double sum[8];
    float v[8];
    size_t i = row * (size_t)b->c + channel;
    size_t step = (size_t)b->rows * (size_t)b->c;
    for (size_t k = 0; k < 8; k++)
        sum[k] = (double)b->bias[channel + k];
    for (int32_t s = 0; s < b->splits; s++) {
        load8(b->partials, (size_t)s * step + i, b->partial_type, v);
        for (int k = 0; k < 8; k++)
            sum[k] += (double)v[k];
    }
    int finite = 1;
    for (int k = 0; k < 8; k++) {
        v[k] = (float)sum[k];
        finite &= v[k] - v[k] == 0;
        v[k] = b->relu && v[k] <= 0 ? 0 : v[k];
    }
    if (b->not_finite && !finite)
        b->not_finite[row] = 1;
    store8(b->y, i, b->type, v);
}

KERNEL(add_bias, bias_args, a)
{
    size_t vectors = (size_t)a.b.c / 8, n = (size_t)a.b.rows * vectors;
    size_t i = (size_t)blockIdx.x * KERNEL_THREADS + threadIdx.x;
    for (; i < n; i += (size_t)gridDim.x * KERNEL_THREADS)
        bias_vector(&a.b, i / vectors, i % vectors * 8);
}

int kernel_bias_forward(struct kernel_queue queue, const struct kernel_bias *b)
{
    struct bias_args args = {*b};
    size_t n = (size_t)b->rows * (size_t)b->c / 8;
    size_t blocks = (n + KERNEL_THREADS - 1) / KERNEL_THREADS;
    return LAUNCH(add_bias, queue, grid_blocks(queue, blocks, 1), 1, args);
}

struct bias_backward_args {
    struct kernel_bias_backward b;
};

/* A block takes 8 channels, a thread every 256th row. */
KERNEL(bias_gradient, bias_backward_args, a)
{
    size_t vectors = (size_t)a.b.c / 8;
    for (size_t vector = blockIdx.x; vector < vectors; vector += gridDim.x) {
        double sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (size_t row = threadIdx.x; row < (size_t)a.b.rows;
             row += KERNEL_THREADS) {
            float g[8], y[8];
            size_t i = (row * vectors + vector) * 8;
            load8(a.b.dy, i, a.b.type, g);
            if (a.b.y)
                load8(a.b.y, i, a.b.type, y);
            for (int k = 0; k < 8; k++) {
                g[k] = a.b.y && y[k] <= 0 ? 0 : g[k];
                sum[k] += (double)g[k];
            }
            store8(a.b.dx, i, a.b.type, g);
        }
        for (int k = 0; k < 8; k++) {
            double total = block_sum(sum[k]);
            if (threadIdx.x == 0)
                a.b.bias_grad[vector * 8 + (size_t)k] = (float)total;
        }
    }
}

int kernel_bias_backward(struct kernel_queue queue,
                         const struct kernel_bias_backward *b)
{
    struct bias_backward_args args = {*b};
    return LAUNCH(bias_gradient, queue, grid_blocks(queue, (size_t)b->c / 8, 1),
                  1, args);
}
