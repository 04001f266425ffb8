/*
 * Two sums per channel over all rows of a map, shared by the kernels of norm.cu
 * and stem.cu.
 *
 * A block takes CHANNELS channels (8 threads with 8 each) and a chunk of rows;
 * its threads are 8 vectors times 32 row lanes. A thread adds SUM_TILE rows in
 * float, then adds these sums in double. Lanes are added by shuffles and
 * through shared memory; the chunk's two sums go to partials [chunks][2][c].
 * norm_total() adds the chunks. The chunks depend on the shape only, and so do
 * the bits.
 */
#ifndef VOCDIST_KERNELS_NORM_INTERNAL_H
#define VOCDIST_KERNELS_NORM_INTERNAL_H

#include "kernels_internal.h"

#define CHANNELS 64
#define VECTORS  (CHANNELS / 8)
#define LANES    (KERNEL_THREADS / VECTORS)
#define SUM_TILE 4
/* Rows of a thread whose loads are in flight together: about 32 KB per
 * multiprocessor are needed to use the bandwidth of an H100. */
#define MAP_ROWS 2
/* Blocks of a pass over all rows, at most; rows per chunk, at least. */
#define MAX_BLOCKS     512
#define MIN_CHUNK_ROWS 256

static __device__ __forceinline__ size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How the rows of a map are divided. */
struct norm_grid {
    size_t rows, chunk_rows;
    unsigned n_chunks, n_groups; /* groups of CHANNELS channels */
    int32_t c;
};

static inline struct norm_grid norm_grid_of(size_t rows, int32_t c)
{
    struct norm_grid g;
    g.rows = rows;
    g.c = c;
    g.n_groups = (unsigned)((c + CHANNELS - 1) / CHANNELS);
    size_t most = MAX_BLOCKS / g.n_groups > 0 ? MAX_BLOCKS / g.n_groups : 1;
    g.chunk_rows = (rows + most - 1) / most;
    if (g.chunk_rows < MIN_CHUNK_ROWS)
        g.chunk_rows = MIN_CHUNK_ROWS;
    g.n_chunks = (unsigned)((rows + g.chunk_rows - 1) / g.chunk_rows);
    return g;
}

/* Blocks of a pass without sums: a thread takes several rows, so that it loads
 * its coefficients once. */
static inline unsigned map_blocks(struct kernel_queue queue,
                                  const struct norm_grid *grid)
{
    size_t most = 4 * (MAX_BLOCKS / grid->n_groups + 1);
    size_t all = (grid->rows + LANES - 1) / LANES;
    return grid_blocks(queue, all < most ? all : most, grid->n_groups);
}

/* The first of this thread's 8 channels; c or more: it has none. */
static __device__ __forceinline__ int32_t thread_channel(void)
{
    return (int32_t)(blockIdx.y * CHANNELS + threadIdx.x % VECTORS * 8);
}

static __device__ __forceinline__ size_t thread_lane(void)
{
    return threadIdx.x / VECTORS;
}

static __device__ __forceinline__ int all_finite8(const float v[8])
{
    int finite = 1;
    for (int k = 0; k < 8; k++)
        finite &= v[k] - v[k] == 0;
    return finite;
}

/* ---- sums of one thread ---- */

struct norm_sums {
    double a[8], b[8];
};

static __device__ __forceinline__ void norm_sums_clear(struct norm_sums *s)
{
    for (int k = 0; k < 8; k++)
        s->a[k] = s->b[k] = 0;
}

static __device__ __forceinline__ void
norm_sums_add(struct norm_sums *s, const float a[8], const float b[8])
{
    for (int k = 0; k < 8; k++) {
        s->a[k] += (double)a[k];
        s->b[k] += (double)b[k];
    }
}

/* Over the lanes of a warp that have the same channels. */
static __device__ __forceinline__ double sum_over_lanes(double x)
{
    for (int step = VECTORS; step < WARP; step *= 2)
        x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}

/* Adds the block's lanes and writes the chunk's sums. All threads call it. */
static __device__ __forceinline__ void
norm_sums_write(const struct norm_sums *s, const struct norm_grid *g,
                size_t chunk, double *partials)
{
    __shared__ double lanes[WARPS][2][CHANNELS];
    unsigned warp = threadIdx.x / WARP, vector = threadIdx.x % VECTORS;
    for (unsigned k = 0; k < 8; k++) {
        double a = sum_over_lanes(s->a[k]), b = sum_over_lanes(s->b[k]);
        if (threadIdx.x % WARP < VECTORS) {
            lanes[warp][0][vector * 8 + k] = a;
            lanes[warp][1][vector * 8 + k] = b;
        }
    }
    __syncthreads();
    size_t channel = blockIdx.y * CHANNELS + threadIdx.x % CHANNELS;
    unsigned which = threadIdx.x / CHANNELS;
    if (which < 2 && channel < (size_t)g->c) {
        double sum = 0;
        for (unsigned i = 0; i < WARPS; i++)
            sum += lanes[i][which][threadIdx.x % CHANNELS];
        partials[(chunk * 2 + which) * (size_t)g->c + channel] = sum;
    }
    __syncthreads();
}

/* ---- over chunks ---- */

/* Block x adds the chunks of channels 8 x .. 8 x + 7: thread t takes channel
 * t % 8 and every 32nd chunk. All threads call it; the result is in those with
 * t < 8. */
static __device__ __forceinline__ double
norm_total(const struct norm_grid *g, unsigned which, const double *partials)
{
    __shared__ double lanes[WARPS][8];
    size_t channel = blockIdx.x * 8 + threadIdx.x % 8;
    double sum = 0;
    for (size_t i = threadIdx.x / 8; i < g->n_chunks; i += KERNEL_THREADS / 8)
        sum += partials[(i * 2 + which) * (size_t)g->c + channel];
    sum = sum_over_lanes(sum);
    if (threadIdx.x % WARP < 8)
        lanes[threadIdx.x / WARP][threadIdx.x % WARP] = sum;
    __syncthreads();
    sum = 0;
    for (unsigned i = 0; i < WARPS; i++)
        sum += lanes[i][threadIdx.x % 8];
    __syncthreads();
    return sum;
}

/* ---- coefficients of 8 channels ---- */

struct norm_coeffs {
    float mean[8], scale[8], bias[8];
};

static __device__ __forceinline__ void
norm_coeffs_load(const struct kernel_norm *n, int32_t channel,
                 struct norm_coeffs *c)
{
    for (int k = 0; k < 8; k++) {
        c->mean[k] = n->mean[channel + k];
        c->scale[k] = n->scale[channel + k];
        c->bias[k] = n->bias[channel + k];
    }
}

/* Coefficients of dx; `share`: 1 / rows, or 0 with fixed statistics. */
struct norm_backward_coeffs {
    float mean[8], scale[8], offset[8], slope[8];
};

static __device__ __forceinline__ void
norm_backward_coeffs_load(const struct kernel_norm *n, const float *weight_grad,
                          const float *bias_grad, double share, int32_t channel,
                          struct norm_backward_coeffs *c)
{
    for (int k = 0; k < 8; k++) {
        double inv = (double)n->inv_std[channel + k];
        c->mean[k] = n->mean[channel + k];
        c->scale[k] = n->scale[channel + k];
        c->offset[k] = (float)(share * (double)bias_grad[channel + k]);
        c->slope[k] = (float)(share * (double)weight_grad[channel + k] * inv);
    }
}

/* dx = scale (g - sum g / n - xhat sum(g xhat) / n), of 8 channels. */
static __device__ __forceinline__ void
norm_dx(const struct norm_backward_coeffs *c, const float x[8],
        const float g[8], float dx[8])
{
    for (int k = 0; k < 8; k++)
        dx[k] = c->scale[k] *
                (g[k] - c->offset[k] - (x[k] - c->mean[k]) * c->slope[k]);
}

/* Writes the parameters' gradients from the partial sums of g and
 * g (x - mean). Defined in norm.cu. */
int norm_finish_backward(struct kernel_queue queue, const struct kernel_norm *n,
                         float *weight_grad, float *bias_grad);

#endif
