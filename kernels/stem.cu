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

/* The maximum of a window so far. */
struct window {
    float best[8];
    uint32_t at[8];
};

/* Normalized values v at position `at`. NaN counts as the greatest; `first`: of
 * the window's positions inside the map. */
static __device__ __forceinline__ void
window_add(struct window *w, const float v[8], uint32_t at, int first)
{
    for (int k = 0; k < 8; k++) {
        float x = v[k] <= 0 ? 0 : v[k];
        int greater = first || x > w->best[k] || !(x - x == 0 || x > 0);
        w->best[k] = greater ? x : w->best[k];
        w->at[k] = greater ? at : w->at[k];
    }
}

/* Output (image, oy, ox) of the thread's channels. */
static __device__ __forceinline__ void
pool_window(const struct pool_args *a, enum kernel_type type,
            const struct norm_coeffs *c, uint32_t image, uint32_t oy,
            uint32_t ox, struct window *window)
{
    uint32_t h = (uint32_t)a->s.h, w = (uint32_t)a->s.w;
    int first = 1;
    for (uint32_t at = 0; at < 9; at++) {
        uint32_t iy = 2 * oy + at / 3 - 1, ix = 2 * ox + at % 3 - 1;
        if (iy >= h || ix >= w) /* also -1, as an unsigned number */
            continue;
        size_t row = ((size_t)image * h + iy) * w + ix;
        float v[8];
        load8(a->x, row * (size_t)a->s.norm.c + (size_t)thread_channel(), type,
              v);
        for (int k = 0; k < 8; k++)
            v[k] = (v[k] - c->mean[k]) * c->scale[k] + c->bias[k];
        if (a->not_finite && !all_finite8(v))
            a->not_finite[image] = 1;
        window_add(window, v, at, first);
        first = 0;
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
        pool_window(a, type, &c, row / ow / oh, row / ow % oh, row % ow,
                    &window);
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

/* Adds dy of output row `row` where its maximum is at `at`. */
static __device__ __forceinline__ void
add_window_gradient(const struct stem_gradient_args *a, enum kernel_type type,
                    size_t row, uint32_t at, float g[8])
{
    float dy[8];
    size_t i = row * (size_t)a->grid.c + (size_t)thread_channel();
    uint32_t index = a->b.index[i / 8];
    load8(a->b.dy, i, type, dy);
    for (int k = 0; k < 8; k++)
        g[k] += (index >> 4 * k & 15) == at ? dy[k] : 0;
}

/* g and x of the thread's channels in input row `row`. */
static __device__ __forceinline__ void
load_stem_gradient(const struct stem_gradient_args *a, enum kernel_type type,
                   uint32_t row, float g[8], float x[8])
{
    uint32_t h = (uint32_t)a->s.h, w = (uint32_t)a->s.w;
    uint32_t oh = pooled(h), ow = pooled(w);
    uint32_t ix = row % w, iy = row / w % h, image = row / w / h;
    load8(a->b.x, (size_t)row * (size_t)a->grid.c + (size_t)thread_channel(),
          type, x);
    for (int k = 0; k < 8; k++)
        g[k] = 0;
    for (uint32_t oy = iy / 2; oy <= (iy + 1) / 2 && oy < oh; oy++) {
        for (uint32_t ox = ix / 2; ox <= (ix + 1) / 2 && ox < ow; ox++)
            add_window_gradient(a, type, ((size_t)image * oh + oy) * ow + ox,
                                3 * (iy + 1 - 2 * oy) + (ix + 1 - 2 * ox), g);
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
    int err = LAUNCH_TYPED(stem_gradient_sums, s->norm.type, queue,
                           grid_blocks(queue, args.grid.n_chunks),
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
