/*
 * Batch norm, ReLU and max pooling 3 x 3, stride 2, padding 1 of the stem.
 *
 * Forward: one thread computes 8 channels of one output: it normalizes the up
 * to 9 inputs of the window and keeps the maximum and its position, 4 bits per
 * element. Neighboring windows share inputs through the caches; the normalized
 * map is never stored.
 *
 * Backward: an input belongs to at most 4 windows. Its gradient g is the sum of
 * dy over those that have it as their maximum, in ascending order. Both passes
 * (sums over the map, then dx; see norm.cu) collect g from dy and the index.
 */
#include "norm_internal.h"

#define NO_GRADIENT 15u

static __device__ __forceinline__ uint32_t pooled(uint32_t side)
{
    return (side - 1) / 2 + 1;
}

/* ---- forward ---- */

struct pool_args {
    struct kernel_stem s;
    const void *x;
    void *y;
    uint32_t *index;
    int32_t *not_finite;
};

/* The maximum of a window so far; below 0: nothing yet. */
struct window {
    float best[8];
    uint32_t at[8];
};

/* Normalized values v at position `at`. NaN counts as the greatest. */
static __device__ __forceinline__ void window_add(struct window *w,
                                                  const float v[8], uint32_t at)
{
    for (int k = 0; k < 8; k++) {
        float x = v[k] <= 0 ? 0 : v[k];
        int greater = x > w->best[k] || x != x;
        w->best[k] = greater ? x : w->best[k];
        w->at[k] = greater ? at : w->at[k];
    }
}

/* Row ky of the window of output (image, oy, ox), of the thread's channels. The
 * loads come first. An index of -1 is a large unsigned number. */
static __device__ __forceinline__ void
pool_window_row(const struct pool_args *a, enum kernel_type type,
                const struct norm_coeffs *c, uint32_t image, uint32_t oy,
                uint32_t ox, uint32_t ky, struct window *window)
{
    uint32_t h = (uint32_t)a->s.h, w = (uint32_t)a->s.w;
    uint32_t iy = 2 * oy + ky - 1;
    float v[3][8];
    if (iy >= h)
        return;
    for (uint32_t kx = 0; kx < 3; kx++) {
        uint32_t ix = 2 * ox + kx - 1;
        size_t row = ((size_t)image * h + iy) * w + ix;
        if (ix < w)
            load8(a->x, row * (size_t)a->s.norm.c + (size_t)thread_channel(),
                  type, v[kx]);
    }
    for (uint32_t kx = 0; kx < 3; kx++) {
        if (2 * ox + kx - 1 >= w)
            continue;
        for (int k = 0; k < 8; k++)
            v[kx][k] = (v[kx][k] - c->mean[k]) * c->scale[k] + c->bias[k];
        if (a->not_finite && !all_finite8(v[kx]))
            a->not_finite[image] = 1;
        window_add(window, v[kx], 3 * ky + kx);
    }
}

static __device__ __forceinline__ void stem_pool(const struct pool_args *a,
                                                 enum kernel_type type)
{
    struct norm_coeffs c;
    if (thread_channel() >= a->s.norm.c)
        return;
    norm_coeffs_load(&a->s.norm, thread_channel(), &c);
    uint32_t oh = pooled((uint32_t)a->s.h), ow = pooled((uint32_t)a->s.w);
    uint32_t rows = (uint32_t)a->s.n * oh * ow;
    uint32_t row = blockIdx.x * LANES + (uint32_t)thread_lane();
    for (; row < rows; row += gridDim.x * LANES) {
        struct window window;
        uint32_t bits = 0;
        for (int k = 0; k < 8; k++) {
            window.best[k] = -1;
            window.at[k] = NO_GRADIENT;
        }
        for (uint32_t ky = 0; ky < 3; ky++)
            pool_window_row(a, type, &c, row / ow / oh, row / ow % oh, row % ow,
                            ky, &window);
        for (int k = 0; k < 8; k++)
            bits |= (window.best[k] <= 0 ? NO_GRADIENT : window.at[k]) << 4 * k;
        size_t i = (size_t)row * (size_t)a->s.norm.c + (size_t)thread_channel();
        store8(a->y, i, type, window.best);
        if (a->index)
            a->index[i / 8] = bits;
    }
}

TYPED_KERNELS(stem_pool, pool_args)

int kernel_stem_forward(struct kernel_queue queue, const struct kernel_stem *s,
                        const void *x, void *y, uint32_t *index,
                        int32_t *not_finite)
{
    struct pool_args args = {*s, x, y, index, not_finite};
    size_t rows = (size_t)s->n * (size_t)((s->h - 1) / 2 + 1) *
                  (size_t)((s->w - 1) / 2 + 1);
    struct norm_grid grid = norm_grid_of(rows, s->norm.c);
    return LAUNCH_TYPED(stem_pool, s->norm.type, queue,
                        map_blocks(queue, &grid), grid.n_groups, args);
}

/* ---- backward ---- */

struct stem_gradient_args {
    struct norm_grid grid;
    struct kernel_stem s;
    struct kernel_stem_backward b;
};

/* One window that an input may belong to. */
struct window_gradient {
    float dy[8];
    uint32_t index, at; /* at: position of the input in the window */
};

/* Window (oy, ox) for input (iy, ix); without effect if it does not exist. */
static __device__ __forceinline__ void
load_window_gradient(const struct stem_gradient_args *a, enum kernel_type type,
                     uint32_t image, uint32_t oy, uint32_t ox, uint32_t iy,
                     uint32_t ix, struct window_gradient *w)
{
    uint32_t oh = pooled((uint32_t)a->s.h), ow = pooled((uint32_t)a->s.w);
    w->index = 0;
    w->at = 16; /* no index has this value */
    for (int k = 0; k < 8; k++)
        w->dy[k] = 0;
    if (oy >= oh || ox >= ow || oy > (iy + 1) / 2 || ox > (ix + 1) / 2)
        return;
    size_t row = ((size_t)image * oh + oy) * ow + ox;
    size_t i = row * (size_t)a->grid.c + (size_t)thread_channel();
    w->at = 3 * (iy + 1 - 2 * oy) + (ix + 1 - 2 * ox);
    w->index = a->b.index[i / 8];
    load8(a->b.dy, i, type, w->dy);
}

/* g and x of the thread's channels in input row `row`. An even coordinate has
 * one window, an odd one two; the loads of all four come first. */
static __device__ __forceinline__ void
load_stem_gradient(const struct stem_gradient_args *a, enum kernel_type type,
                   uint32_t row, float g[8], float x[8])
{
    uint32_t h = (uint32_t)a->s.h, w = (uint32_t)a->s.w;
    uint32_t ix = row % w, iy = row / w % h, image = row / w / h;
    struct window_gradient windows[4];
    load8(a->b.x, (size_t)row * (size_t)a->grid.c + (size_t)thread_channel(),
          type, x);
    for (uint32_t i = 0; i < 4; i++)
        load_window_gradient(a, type, image, iy / 2 + i / 2, ix / 2 + i % 2, iy,
                             ix, &windows[i]);
    for (int k = 0; k < 8; k++)
        g[k] = 0;
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 8; k++)
            g[k] += (windows[i].index >> 4 * k & 15) == windows[i].at
                        ? windows[i].dy[k]
                        : 0;
    }
}

static __device__ __forceinline__ void
add_stem_sums(const struct stem_gradient_args *a, enum kernel_type type,
              size_t row, size_t end, const float mean[8],
              struct norm_sums *sums)
{
    float sum[8] = {0}, product[8] = {0}, g[8], x[8];
    for (; row < end; row += LANES) {
        load_stem_gradient(a, type, (uint32_t)row, g, x);
        for (int k = 0; k < 8; k++) {
            sum[k] += g[k];
            product[k] += g[k] * (x[k] - mean[k]);
        }
    }
    norm_sums_add(sums, sum, product);
}

static __device__ __forceinline__ void
stem_gradient_sums(const struct stem_gradient_args *a, enum kernel_type type)
{
    const struct norm_grid *g = &a->grid;
    int has_channels = thread_channel() < g->c;
    float mean[8];
    for (int k = 0; has_channels && k < 8; k++)
        mean[k] = a->s.norm.mean[thread_channel() + k];
    for (size_t chunk = blockIdx.x; chunk < g->n_chunks; chunk += gridDim.x) {
        struct norm_sums sums;
        norm_sums_clear(&sums);
        size_t end = min_size((chunk + 1) * g->chunk_rows, g->rows);
        size_t row = chunk * g->chunk_rows + thread_lane();
        for (; has_channels && row < end; row += LANES * SUM_TILE)
            add_stem_sums(a, type, row, min_size(row + LANES * SUM_TILE, end),
                          mean, &sums);
        norm_sums_write(&sums, g, chunk, a->s.norm.partials);
    }
}

TYPED_KERNELS(stem_gradient_sums, stem_gradient_args)

static __device__ __forceinline__ void
stem_gradient(const struct stem_gradient_args *a, enum kernel_type type)
{
    struct norm_backward_coeffs c;
    if (thread_channel() >= a->grid.c)
        return;
    double share = a->b.uses_batch ? 1 / (double)a->grid.rows : 0;
    norm_backward_coeffs_load(&a->s.norm, a->b.weight_grad, a->b.bias_grad,
                              share, thread_channel(), &c);
    size_t row = (size_t)blockIdx.x * LANES + thread_lane();
    for (; row < a->grid.rows; row += (size_t)gridDim.x * LANES) {
        float g[8], x[8], dx[8];
        load_stem_gradient(a, type, (uint32_t)row, g, x);
        norm_dx(&c, x, g, dx);
        store8(a->b.dx, row * (size_t)a->grid.c + (size_t)thread_channel(),
               type, dx);
    }
}

TYPED_KERNELS(stem_gradient, stem_gradient_args)

int kernel_stem_backward(struct kernel_queue queue, const struct kernel_stem *s,
                         const struct kernel_stem_backward *b)
{
    struct stem_gradient_args args = {norm_grid_of(s->norm.rows, s->norm.c), *s,
                                      *b};
    int err =
        LAUNCH_TYPED(stem_gradient_sums, s->norm.type, queue,
                     grid_blocks(queue, args.grid.n_chunks, args.grid.n_groups),
                     args.grid.n_groups, args);
    if (!err)
        err =
            norm_finish_backward(queue, &s->norm, b->weight_grad, b->bias_grad);
    if (err || !b->dx)
        return err;
    return LAUNCH_TYPED(stem_gradient, s->norm.type, queue,
                        map_blocks(queue, &args.grid), args.grid.n_groups,
                        args);
}
