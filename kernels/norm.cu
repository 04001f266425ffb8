/*
 * Batch norm. Forward with statistics of the batch is three kernels:
 *
 *   norm_statistics   partial sums of x - x0 and (x - x0)^2, x0 the first row
 *   finish_statistics mean, variance, coefficients, one thread per channel
 *   norm_map          y = (x - mean) scale + bias (+ residual) (ReLU), mask
 *
 * and backward is three:
 *
 *   norm_gradient_sums      partial sums of g and g (x - mean)
 *   finish_gradient_sums    gradients of weight and bias
 *   norm_gradient           dx, and g for the residual
 *
 * A thread takes 8 channels of a row, 8 neighbors 64; see norm_internal.h.
 */
#include "norm_internal.h"

size_t kernel_norm_partials(size_t rows, int32_t c)
{
    return 2 * (size_t)c * norm_grid_of(rows, c).n_chunks;
}

/* ---- statistics ---- */

struct statistics_args {
    struct norm_grid grid;
    const void *x;
    double *partials;
};

/* Rows row, row + LANES, ... below `end`, SUM_TILE of them at most. All loads
 * come first; a row beyond the end counts as the origin and adds 0. */
static __device__ __forceinline__ void
add_statistics(const struct statistics_args *a, enum kernel_type type,
               size_t row, size_t end, const float origin[8],
               struct norm_sums *sums)
{
    float sum[8] = {0}, squares[8] = {0}, x[SUM_TILE][8];
    for (size_t r = 0; r < SUM_TILE; r++) {
        size_t at = row + r * LANES;
        for (int k = 0; k < 8; k++)
            x[r][k] = origin[k];
        if (at < end)
            load8(a->x, at * (size_t)a->grid.c + (size_t)thread_channel(), type,
                  x[r]);
    }
    for (int r = 0; r < SUM_TILE; r++) {
        for (int k = 0; k < 8; k++) {
            float d = x[r][k] - origin[k];
            sum[k] += d;
            squares[k] += d * d;
        }
    }
    norm_sums_add(sums, sum, squares);
}

static __device__ __forceinline__ void
norm_statistics(const struct statistics_args *a, enum kernel_type type)
{
    const struct norm_grid *g = &a->grid;
    int has_channels = thread_channel() < g->c;
    float origin[8];
    if (has_channels)
        load8(a->x, (size_t)thread_channel(), type, origin);
    for (size_t chunk = blockIdx.x; chunk < g->n_chunks; chunk += gridDim.x) {
        struct norm_sums sums;
        norm_sums_clear(&sums);
        size_t end = min_size((chunk + 1) * g->chunk_rows, g->rows);
        size_t row = chunk * g->chunk_rows + thread_lane();
        for (; has_channels && row < end; row += LANES * SUM_TILE)
            add_statistics(a, type, row, end, origin, &sums);
        norm_sums_write(&sums, g, chunk, a->partials);
    }
}

TYPED_KERNELS(norm_statistics, statistics_args)

struct finish_args {
    struct norm_grid grid;
    struct kernel_norm n;
    const void *x;
    float *batch_mean, *batch_var;
};

static __device__ __forceinline__ void
set_norm(const struct kernel_norm *n, size_t channel, double mean, double var)
{
    double inv_std = 1 / sqrt(var + n->eps);
    n->mean[channel] = (float)mean;
    n->inv_std[channel] = (float)inv_std;
    n->scale[channel] = (float)(inv_std * (double)n->weight[channel]);
}

KERNEL(finish_statistics, finish_args, a)
{
    double sum = norm_total(&a.grid, 0, a.n.partials);
    double squares = norm_total(&a.grid, 1, a.n.partials);
    if (threadIdx.x >= 8)
        return;
    size_t channel = blockIdx.x * 8 + threadIdx.x;
    double rows = (double)a.grid.rows, mean = sum / rows;
    double var = squares / rows - mean * mean;
    if (var < 0)
        var = 0;
    mean += (double)load1(a.x, channel, a.n.type);
    set_norm(&a.n, channel, mean, var);
    if (a.batch_mean)
        a.batch_mean[channel] = (float)mean;
    if (a.batch_var)
        a.batch_var[channel] = (float)(var * rows / (rows - 1));
}

int kernel_norm_batch(struct kernel_queue queue, const struct kernel_norm *n,
                      const void *x, float *batch_mean, float *batch_var)
{
    struct norm_grid grid = norm_grid_of(n->rows, n->c);
    struct statistics_args statistics = {grid, x, n->partials};
    struct finish_args finish = {grid, *n, x, batch_mean, batch_var};
    int err = LAUNCH_TYPED(norm_statistics, n->type, queue,
                           grid_blocks(queue, grid.n_chunks, grid.n_groups),
                           grid.n_groups, statistics);
    return err ? err
               : LAUNCH(finish_statistics, queue, (unsigned)n->c / 8, 1,
                        finish);
}

struct running_norm_args {
    struct kernel_norm n;
    const float *mean, *var;
};

KERNEL(use_running, running_norm_args, a)
{
    size_t channel = (size_t)blockIdx.x * KERNEL_THREADS + threadIdx.x;
    if (channel < (size_t)a.n.c)
        set_norm(&a.n, channel, (double)a.mean[channel],
                 (double)a.var[channel]);
}

int kernel_norm_running(struct kernel_queue queue, const struct kernel_norm *n,
                        const float *running_mean, const float *running_var)
{
    struct running_norm_args args = {*n, running_mean, running_var};
    unsigned blocks = ((unsigned)n->c + KERNEL_THREADS - 1) / KERNEL_THREADS;
    return LAUNCH(use_running, queue, blocks, 1, args);
}

/* ---- forward ---- */

struct map_args {
    struct kernel_norm n;
    struct kernel_norm_apply a;
};

/* Written so that NaN passes. Returns the mask. */
static __device__ __forceinline__ unsigned relu8(float v[8])
{
    unsigned mask = 0;
    for (int k = 0; k < 8; k++) {
        int passes = !(v[k] <= 0);
        mask |= (unsigned)passes << k;
        v[k] = passes ? v[k] : 0;
    }
    return mask;
}

/* From x (in v) and residual to y, mask and not_finite of one row. */
static __device__ __forceinline__ void
norm_map_row(const struct map_args *m, enum kernel_type type, size_t row,
             const struct norm_coeffs *c, float v[8], const float residual[8])
{
    size_t i = row * (size_t)m->n.c + (size_t)thread_channel();
    for (int k = 0; k < 8; k++)
        v[k] = (v[k] - c->mean[k]) * c->scale[k] + c->bias[k];
    if (m->a.residual) {
        for (int k = 0; k < 8; k++)
            v[k] += residual[k];
    }
    if (m->a.not_finite && !all_finite8(v))
        m->a.not_finite[row / m->a.image_rows] = 1;
    if (m->a.relu) {
        unsigned mask = relu8(v);
        if (m->a.mask)
            m->a.mask[i / 8] = (uint8_t)mask;
    }
    store8(m->a.y, i, type, v);
}

/* The loads of MAP_ROWS rows come before the stores, which may alias them. */
static __device__ __forceinline__ void norm_map(const struct map_args *m,
                                                enum kernel_type type)
{
    struct norm_coeffs c;
    if (thread_channel() >= m->n.c)
        return;
    norm_coeffs_load(&m->n, thread_channel(), &c);
    size_t row = (size_t)blockIdx.x * LANES + thread_lane();
    size_t step = (size_t)gridDim.x * LANES;
    for (; row < m->n.rows; row += MAP_ROWS * step) {
        float v[MAP_ROWS][8], residual[MAP_ROWS][8];
        for (size_t r = 0; r < MAP_ROWS; r++) {
            size_t at = row + r * step;
            size_t i = at * (size_t)m->n.c + (size_t)thread_channel();
            if (at < m->n.rows)
                load8(m->a.x, i, type, v[r]);
            if (at < m->n.rows && m->a.residual)
                load8(m->a.residual, i, type, residual[r]);
        }
        for (size_t r = 0; r < MAP_ROWS; r++) {
            if (row + r * step < m->n.rows)
                norm_map_row(m, type, row + r * step, &c, v[r], residual[r]);
        }
    }
}

TYPED_KERNELS(norm_map, map_args)

int kernel_norm_apply(struct kernel_queue queue, const struct kernel_norm *n,
                      const struct kernel_norm_apply *a)
{
    struct norm_grid grid = norm_grid_of(n->rows, n->c);
    struct map_args args = {*n, *a};
    return LAUNCH_TYPED(norm_map, n->type, queue, map_blocks(queue, &grid),
                        grid.n_groups, args);
}

/* ---- backward ---- */

struct gradient_args {
    struct norm_grid grid;
    struct kernel_norm n;
    struct kernel_norm_backward b;
};

/* g and x of 8 channels from element i. */
static __device__ __forceinline__ void
load_gradient(const struct kernel_norm_backward *b, enum kernel_type type,
              size_t i, float g[8], float x[8])
{
    load8(b->dy, i, type, g);
    load8(b->x, i, type, x);
    unsigned mask = b->mask ? b->mask[i / 8] : 0xff;
    for (int k = 0; k < 8; k++)
        g[k] = mask >> k & 1 ? g[k] : 0;
}

/* As add_statistics(), of MAP_ROWS rows; a row beyond the end has g = 0. */
static __device__ __forceinline__ void
add_gradients(const struct gradient_args *a, enum kernel_type type, size_t row,
              size_t end, const float mean[8], float sum[8], float product[8])
{
    float g[MAP_ROWS][8], x[MAP_ROWS][8];
    for (size_t r = 0; r < MAP_ROWS; r++) {
        size_t at = row + r * LANES;
        for (int k = 0; k < 8; k++)
            g[r][k] = x[r][k] = 0;
        if (at < end)
            load_gradient(&a->b, type,
                          at * (size_t)a->grid.c + (size_t)thread_channel(),
                          g[r], x[r]);
    }
    for (int r = 0; r < MAP_ROWS; r++) {
        for (int k = 0; k < 8; k++) {
            sum[k] += g[r][k];
            product[k] += g[r][k] * (x[r][k] - mean[k]);
        }
    }
}

static __device__ __forceinline__ void
add_gradient_sums(const struct gradient_args *a, enum kernel_type type,
                  size_t row, size_t end, const float mean[8],
                  struct norm_sums *sums)
{
    float sum[8] = {0}, product[8] = {0};
    for (size_t r = 0; r < SUM_TILE; r += MAP_ROWS)
        add_gradients(a, type, row + r * LANES, end, mean, sum, product);
    norm_sums_add(sums, sum, product);
}

static __device__ __forceinline__ void
norm_gradient_sums(const struct gradient_args *a, enum kernel_type type)
{
    const struct norm_grid *g = &a->grid;
    int has_channels = thread_channel() < g->c;
    float mean[8];
    for (int k = 0; has_channels && k < 8; k++)
        mean[k] = a->n.mean[thread_channel() + k];
    for (size_t chunk = blockIdx.x; chunk < g->n_chunks; chunk += gridDim.x) {
        struct norm_sums sums;
        norm_sums_clear(&sums);
        size_t end = min_size((chunk + 1) * g->chunk_rows, g->rows);
        size_t row = chunk * g->chunk_rows + thread_lane();
        for (; has_channels && row < end; row += LANES * SUM_TILE)
            add_gradient_sums(a, type, row, end, mean, &sums);
        norm_sums_write(&sums, g, chunk, a->n.partials);
    }
}

TYPED_KERNELS(norm_gradient_sums, gradient_args)

struct finish_gradient_args {
    struct norm_grid grid;
    struct kernel_norm n;
    float *weight_grad, *bias_grad;
};

KERNEL(finish_gradient_sums, finish_gradient_args, a)
{
    double sum = norm_total(&a.grid, 0, a.n.partials);
    double product = norm_total(&a.grid, 1, a.n.partials);
    if (threadIdx.x >= 8)
        return;
    size_t channel = blockIdx.x * 8 + threadIdx.x;
    a.bias_grad[channel] = (float)sum;
    a.weight_grad[channel] = (float)(product * (double)a.n.inv_std[channel]);
}

int norm_finish_backward(struct kernel_queue queue, const struct kernel_norm *n,
                         float *weight_grad, float *bias_grad)
{
    struct finish_gradient_args args = {norm_grid_of(n->rows, n->c), *n,
                                        weight_grad, bias_grad};
    return LAUNCH(finish_gradient_sums, queue, (unsigned)n->c / 8, 1, args);
}

static __device__ __forceinline__ void
store_gradient(const struct gradient_args *a, enum kernel_type type, size_t row,
               const struct norm_backward_coeffs *c, const float g[8],
               const float x[8])
{
    float dx[8];
    size_t i = row * (size_t)a->n.c + (size_t)thread_channel();
    norm_dx(c, x, g, dx);
    if (a->b.dx)
        store8(a->b.dx, i, type, dx);
    if (a->b.dresidual)
        store8(a->b.dresidual, i, type, g);
}

static __device__ __forceinline__ void
norm_gradient(const struct gradient_args *a, enum kernel_type type)
{
    struct norm_backward_coeffs c;
    if (thread_channel() >= a->n.c)
        return;
    double share = a->b.uses_batch ? 1 / (double)a->n.rows : 0;
    norm_backward_coeffs_load(&a->n, a->b.weight_grad, a->b.bias_grad, share,
                              thread_channel(), &c);
    size_t row = (size_t)blockIdx.x * LANES + thread_lane();
    size_t step = (size_t)gridDim.x * LANES;
    for (; row < a->n.rows; row += MAP_ROWS * step) {
        float g[MAP_ROWS][8], x[MAP_ROWS][8];
        for (size_t r = 0; r < MAP_ROWS; r++) {
            size_t at = row + r * step;
            if (at < a->n.rows)
                load_gradient(&a->b, type,
                              at * (size_t)a->n.c + (size_t)thread_channel(),
                              g[r], x[r]);
        }
        for (size_t r = 0; r < MAP_ROWS; r++) {
            if (row + r * step < a->n.rows)
                store_gradient(a, type, row + r * step, &c, g[r], x[r]);
        }
    }
}

TYPED_KERNELS(norm_gradient, gradient_args)

int kernel_norm_backward(struct kernel_queue queue, const struct kernel_norm *n,
                         const struct kernel_norm_backward *b)
{
    struct gradient_args args = {norm_grid_of(n->rows, n->c), *n, *b};
    int err =
        LAUNCH_TYPED(norm_gradient_sums, n->type, queue,
                     grid_blocks(queue, args.grid.n_chunks, args.grid.n_groups),
                     args.grid.n_groups, args);
    if (!err)
        err = norm_finish_backward(queue, n, b->weight_grad, b->bias_grad);
    if (err || (!b->dx && !b->dresidual))
        return err;
    return LAUNCH_TYPED(norm_gradient, n->type, queue,
                        map_blocks(queue, &args.grid), args.grid.n_groups,
                        args);
}
