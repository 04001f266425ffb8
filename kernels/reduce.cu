/*
 * Arithmetic of exchange buffers, and the summary of the mean gradient.
 *
 * The gradient's sum of squares is in double: each chunk of CHUNK elements is
 * summed by one block (a thread's elements in order, then a tree over threads),
 * then one block adds the chunks in the same way. Squares of finite floats do
 * not overflow in double, so the sum is finite if and only if all elements are.
 * The order depends on n only.
 */
#include "kernels_internal.h"

/* Elements of a thread that are in flight together. */
#define UNROLL 4
#define TILE   (UNROLL * (size_t)KERNEL_THREADS)
/* Elements per partial sum. */
#define CHUNK ((size_t)16 << 10)

/* ---- elementwise ---- */

struct add_args {
    float *dst;
    const float *src;
    size_t n;
};

KERNEL(add_elements, add_args, a)
{
    float x[UNROLL], y[UNROLL];
    for (size_t tile = blockIdx.x * TILE; tile < a.n;
         tile += gridDim.x * TILE) {
        size_t first = tile + threadIdx.x;
        for (size_t k = 0; k < UNROLL; k++) {
            size_t i = first + k * KERNEL_THREADS;
            x[k] = i < a.n ? a.dst[i] : 0;
            y[k] = i < a.n ? a.src[i] : 0;
        }
        for (size_t k = 0; k < UNROLL; k++) {
            size_t i = first + k * KERNEL_THREADS;
            if (i < a.n)
                a.dst[i] = x[k] + y[k];
        }
    }
}

int kernel_add(struct kernel_queue queue, float *dst, const float *src,
               size_t n)
{
    struct add_args args = {dst, src, n};
    return LAUNCH(add_elements, queue,
                  grid_blocks(queue, (n + TILE - 1) / TILE, 1), 1, args);
}

struct divide_args {
    float *x;
    size_t n;
    float by;
};

KERNEL(divide_elements, divide_args, a)
{
    float x[UNROLL];
    for (size_t tile = blockIdx.x * TILE; tile < a.n;
         tile += gridDim.x * TILE) {
        size_t first = tile + threadIdx.x;
        for (size_t k = 0; k < UNROLL; k++) {
            size_t i = first + k * KERNEL_THREADS;
            x[k] = i < a.n ? a.x[i] : 0;
        }
        for (size_t k = 0; k < UNROLL; k++) {
            size_t i = first + k * KERNEL_THREADS;
            if (i < a.n)
                a.x[i] = x[k] / a.by;
        }
    }
}

int kernel_divide(struct kernel_queue queue, float *x, size_t n, float by)
{
    struct divide_args args = {x, n, by};
    return LAUNCH(divide_elements, queue,
                  grid_blocks(queue, (n + TILE - 1) / TILE, 1), 1, args);
}

/* ---- summary of the gradient ---- */

size_t kernel_grad_partials(size_t n)
{
    return (n + CHUNK - 1) / CHUNK;
}

struct squares_args {
    const float *x;
    size_t n, n_chunks;
    double *partials;
};

KERNEL(sum_squares, squares_args, a)
{
    for (size_t c = blockIdx.x; c < a.n_chunks; c += gridDim.x) {
        size_t end = (c + 1) * CHUNK < a.n ? (c + 1) * CHUNK : a.n;
        double sum = 0;
        for (size_t i = c * CHUNK + threadIdx.x; i < end; i += KERNEL_THREADS)
            sum += (double)a.x[i] * (double)a.x[i];
        sum = block_sum(sum);
        if (threadIdx.x == 0)
            a.partials[c] = sum;
    }
}

struct summary_args {
    struct kernel_grad g;
    size_t n_partials;
};

/* One block. */
KERNEL(finish_summary, summary_args, a)
{
    double sum = 0, bad = 0;
    for (size_t i = threadIdx.x; i < a.n_partials; i += KERNEL_THREADS)
        sum += a.g.partials[i];
    for (size_t i = threadIdx.x; i < a.g.n_stats; i += KERNEL_THREADS)
        bad += !is_finite((double)a.g.stats[i]);
    sum = block_sum(sum);
    bad = block_sum(bad);
    if (threadIdx.x == 0) {
        a.g.out->squares = sum;
        a.g.out->finite = is_finite(sum) && bad == 0 && *a.g.flag == 0;
    }
}

int kernel_grad_summarize(struct kernel_queue queue,
                          const struct kernel_grad *g)
{
    size_t n_chunks = kernel_grad_partials(g->n);
    struct squares_args squares = {g->grad, g->n, n_chunks, g->partials};
    struct summary_args summary = {*g, n_chunks};
    int err =
        LAUNCH(sum_squares, queue, grid_blocks(queue, n_chunks, 1), 1, squares);
    return err ? err : LAUNCH(finish_summary, queue, 1, 1, summary);
}
