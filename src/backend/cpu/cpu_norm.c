/*
 * Batch norm (Ioffe and Szegedy 2015), forward and backward. Both are three
 * phases for each channel block: sums over its strips, per-channel
 * coefficients from the sums, then one pass over the strips.
 *
 *   forward   mean and variance from shifted data (Chan, Golub, LeVeque 1983):
 *             sums of x - x0 and (x - x0)^2, x0 the channel's first value;
 *             y = scale x + shift (+ residual) (ReLU)
 *   backward  s = sum g, p = sum g (x - mean), r = 1 / sqrt(var + eps), n the
 *             elements of a channel: weight' = p r, bias' = s,
 *             dx = r weight (g - s / n - (x - mean) r^2 p / n)
 *
 * Invariant: a sum's order depends on shape only, never on the thread count.
 */
#include "backend/cpu/cpu_norm.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

void norm_init(struct norm *m, int32_t batch, int32_t c, size_t area, int width,
               bool blocked)
{
    int blocks = (c + width - 1) / width;
    size_t n = (size_t)blocks * (size_t)width;
    *m = (struct norm){.batch = batch,
                       .c = c,
                       .blocks = blocked ? blocks : 0,
                       .width = width,
                       .area = area};
    float *floats = xcalloc(8 * n, sizeof *floats);
    float **all[] = {&m->mean,       &m->scale,     &m->shift,
                     &m->coeffs[0],  &m->coeffs[1], &m->coeffs[2],
                     &m->batch_mean, &m->batch_var};
    for (size_t i = 0; i < 8; i++)
        *all[i] = floats + i * n;
    m->inv_std = xcalloc(n, sizeof *m->inv_std);
    m->sums = xcalloc((size_t)batch * n * 2, sizeof *m->sums);
}

void norm_clear(struct norm *m)
{
    free(m->mean);
    free(m->inv_std);
    free(m->sums);
    *m = (struct norm){.batch = 0};
}

/* ---- statistics to coefficients ---- */

static double elements_per_channel(const struct norm *m)
{
    return (double)m->batch * (double)m->area;
}

static void set_scale_shift(struct norm *m, const struct norm_forward *f,
                            int32_t c, double mean, double var)
{
    m->mean[c] = (float)mean;
    m->inv_std[c] = 1 / sqrt(var + m->eps);
    double scale = m->inv_std[c] * (double)f->weight[c];
    m->scale[c] = (float)scale;
    m->shift[c] = (float)((double)f->bias[c] - mean * scale);
}

/* `sum`, `square`: the sums of x - origin and of its square. */
static void set_batch_stats(struct norm *m, const struct norm_forward *f,
                            int32_t c, double origin, double sum, double square)
{
    double n = elements_per_channel(m);
    double mean = sum / n, var = square / n - mean * mean;
    if (var < 0)
        var = 0;
    m->batch_mean[c] = (float)(origin + mean);
    m->batch_var[c] = (float)(n > 1 ? var * n / (n - 1) : var);
    set_scale_shift(m, f, c, origin + mean, var);
}

static void set_running_stats(struct norm *m, const struct norm_forward *f,
                              int32_t c)
{
    set_scale_shift(m, f, c, (double)f->running_mean[c],
                    (double)f->running_var[c]);
}

/* `sum`, `product`: the sums of g and of g (x - mean). */
static void set_backward_coeffs(struct norm *m, const struct norm_backward *b,
                                int32_t c, double sum, double product)
{
    double n = elements_per_channel(m), inv = m->inv_std[c];
    m->coeffs[0][c] = (float)(inv * (double)b->weight[c]);
    m->coeffs[1][c] = (float)(sum / n);
    m->coeffs[2][c] = (float)(inv * inv * product / n);
    if (b->weight_grad) {
        b->weight_grad[c] = (float)(product * inv);
        b->bias_grad[c] = (float)sum;
    }
}

/* ---- blocked maps ---- */

/* The three phases, of forward or of backward. */
struct norm_job {
    struct norm *norm;
    const struct simd *simd;
    const struct norm_forward *forward;
    const struct norm_backward *backward;
    void (*sum)(const struct norm_job *j, int image, int block);
    void (*set_coeffs)(const struct norm_job *j, int block);
    void (*apply)(const struct norm_job *j, int image, int block);
};

static size_t strip_offset(const struct norm *m, int image, int block)
{
    return ((size_t)image * (size_t)m->blocks + (size_t)block) * m->area *
           (size_t)m->width;
}

static double *strip_sums(const struct norm *m, int image, int block)
{
    size_t at = (size_t)image * (size_t)m->blocks + (size_t)block;
    return m->sums + at * 2 * (size_t)m->width;
}

static void norm_run_block(const struct norm_job *j, int block)
{
    for (int i = 0; i < j->norm->batch; i++)
        j->sum(j, i, block);
    j->set_coeffs(j, block);
    for (int i = 0; i < j->norm->batch; i++)
        j->apply(j, i, block);
}

/* If there are enough blocks, each thread runs all phases of its own blocks,
 * which are then still in its cache in the last phase. Otherwise the threads
 * share each phase. The bits are the same. */
static void norm_run_job(const struct norm_job *j)
{
    int blocks = j->norm->blocks, batch = j->norm->batch;
    int threads = j->norm->threads;
    if (blocks % threads == 0 || blocks >= 4 * threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int b = 0; b < blocks; b++)
            norm_run_block(j, b);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
#pragma omp for collapse(2) schedule(static)
        for (int i = 0; i < batch; i++) {
            for (int b = 0; b < blocks; b++)
                j->sum(j, i, b);
        }
#pragma omp for schedule(static)
        for (int b = 0; b < blocks; b++)
            j->set_coeffs(j, b);
#pragma omp for collapse(2) schedule(static)
        for (int i = 0; i < batch; i++) {
            for (int b = 0; b < blocks; b++)
                j->apply(j, i, b);
        }
    }
}

/* Adds the sums of a channel over the images, in image order. */
static void sum_over_images(const struct norm *m, int block, int lane,
                            double out[2])
{
    out[0] = out[1] = 0;
    for (int i = 0; i < m->batch; i++) {
        const double *sums = strip_sums(m, i, block);
        out[0] += sums[lane];
        out[1] += sums[m->width + lane];
    }
}

static void norm_clear_sums(double *sums, int width)
{
    for (int i = 0; i < 2 * width; i++)
        sums[i] = 0;
}

static void forward_sum(const struct norm_job *j, int image, int block)
{
    const struct norm *m = j->norm;
    double *sums = strip_sums(m, image, block);
    norm_clear_sums(sums, m->width);
    if (!j->forward->running_mean)
        j->simd->moments(j->forward->x + strip_offset(m, image, block), m->area,
                         j->forward->x + strip_offset(m, 0, block), sums);
}

static void forward_set_coeffs(const struct norm_job *j, int block)
{
    struct norm *m = j->norm;
    const float *origin = j->forward->x + strip_offset(m, 0, block);
    for (int k = 0; k < m->width; k++) {
        int32_t c = block * m->width + k;
        double sums[2];
        if (c >= m->c)
            break; /* scale and shift stay 0, so padding channels are 0 */
        sum_over_images(m, block, k, sums);
        if (j->forward->running_mean)
            set_running_stats(m, j->forward, c);
        else
            set_batch_stats(m, j->forward, c, (double)origin[k], sums[0],
                            sums[1]);
    }
}

static void normalize_strip(const struct norm *m, const struct simd *simd,
                            const struct norm_forward *f, int image, int block)
{
    size_t at = strip_offset(m, image, block), c = (size_t)(block * m->width);
    simd->norm(f->y + at, f->x + at, f->residual ? f->residual + at : NULL,
               m->area, m->scale + c, m->shift + c, f->relu);
}

static void forward_apply(const struct norm_job *j, int image, int block)
{
    normalize_strip(j->norm, j->simd, j->forward, image, block);
}

static struct norm_backward_strip backward_strip(const struct norm_job *j,
                                                 int image, int block)
{
    const struct norm *m = j->norm;
    size_t at = strip_offset(m, image, block), c = (size_t)(block * m->width);
    struct norm_backward_strip back = j->backward->strip;
    back.x += at;
    back.g += at;
    back.other = back.other ? back.other + at : NULL;
    back.y = back.y ? back.y + at : NULL;
    back.scale = m->scale + c;
    back.shift = m->shift + c;
    back.mean = m->mean + c;
    return back;
}

static void backward_sum(const struct norm_job *j, int image, int block)
{
    struct norm_backward_strip back = backward_strip(j, image, block);
    double *sums = strip_sums(j->norm, image, block);
    norm_clear_sums(sums, j->norm->width);
    j->simd->norm_backward_sums(&back, j->norm->area, sums);
}

static void backward_set_coeffs(const struct norm_job *j, int block)
{
    struct norm *m = j->norm;
    for (int k = 0; k < m->width; k++) {
        int32_t c = block * m->width + k;
        double sums[2];
        if (c >= m->c)
            break;
        sum_over_images(m, block, k, sums);
        set_backward_coeffs(m, j->backward, c, sums[0], sums[1]);
    }
}

static void backward_apply(const struct norm_job *j, int image, int block)
{
    const struct norm *m = j->norm;
    size_t c = (size_t)(block * m->width);
    if (!j->backward->dx)
        return;
    struct norm_backward_strip back = backward_strip(j, image, block);
    struct norm_backward_coeffs coeffs = {m->coeffs[0] + c, m->coeffs[1] + c,
                                          m->coeffs[2] + c};
    j->simd->norm_backward(j->backward->dx + strip_offset(m, image, block),
                           &back, m->area, &coeffs);
}

/* ---- plain values ---- */

static void norm_plain_forward(struct norm *m, const struct norm_forward *f,
                               int32_t c)
{
    size_t first = (size_t)c * m->area, step = (size_t)m->c * m->area;
    double origin = (double)f->x[first], sum = 0, square = 0;
    for (int i = 0; i < m->batch; i++) {
        const float *x = f->x + first + (size_t)i * step;
        for (size_t k = 0; k < m->area; k++) {
            double v = (double)x[k] - origin;
            sum += v;
            square += v * v;
        }
    }
    if (f->running_mean)
        set_running_stats(m, f, c);
    else
        set_batch_stats(m, f, c, origin, sum, square);
    double mean = (double)m->mean[c], bias = (double)f->bias[c];
    double scale = m->inv_std[c] * (double)f->weight[c];
    for (int i = 0; i < m->batch; i++) {
        const float *x = f->x + first + (size_t)i * step;
        float *y = f->y + first + (size_t)i * step;
        for (size_t k = 0; k < m->area; k++)
            y[k] = (float)(((double)x[k] - mean) * scale + bias);
    }
}

static void norm_plain_backward(struct norm *m, const struct norm_backward *b,
                                int32_t c)
{
    size_t first = (size_t)c * m->area, step = (size_t)m->c * m->area;
    double mean = (double)m->mean[c], sum = 0, product = 0;
    for (int i = 0; i < m->batch; i++) {
        const float *x = b->strip.x + first + (size_t)i * step;
        const float *g = b->strip.g + first + (size_t)i * step;
        for (size_t k = 0; k < m->area; k++) {
            sum += (double)g[k];
            product += (double)g[k] * ((double)x[k] - mean);
        }
    }
    set_backward_coeffs(m, b, c, sum, product);
    if (!b->dx)
        return;
    double n = elements_per_channel(m), inv = m->inv_std[c];
    double slope = inv * (double)b->weight[c];
    for (int i = 0; i < m->batch; i++) {
        size_t at = first + (size_t)i * step;
        for (size_t k = at; k < at + m->area; k++) {
            double x = (double)b->strip.x[k] - mean;
            b->dx[k] = (float)(slope * ((double)b->strip.g[k] - sum / n -
                                        x * inv * inv * product / n));
        }
    }
}

/* ---- interface ---- */

void norm_forward(struct norm *m, const struct simd *simd,
                  const struct norm_forward *f)
{
    struct norm_job j = {
        m, simd, f, NULL, forward_sum, forward_set_coeffs, forward_apply};
    if (m->blocks) {
        norm_run_job(&j);
        return;
    }
    VD_ASSERT(!f->residual && !f->relu);
#pragma omp parallel for num_threads(m->threads) schedule(static)
    for (int32_t c = 0; c < m->c; c++)
        norm_plain_forward(m, f, c);
}

void norm_recompute(const struct norm *m, const struct simd *simd,
                    const float *x, bool relu, float *y)
{
    const struct norm_forward f = {.x = x, .relu = relu, .y = y};
    VD_ASSERT(m->blocks);
#pragma omp parallel for num_threads(m->threads) collapse(2) schedule(static)
    for (int i = 0; i < m->batch; i++) {
        for (int b = 0; b < m->blocks; b++)
            normalize_strip(m, simd, &f, i, b);
    }
}

void norm_backward(struct norm *m, const struct simd *simd,
                   const struct norm_backward *b)
{
    struct norm_job j = {
        m, simd, NULL, b, backward_sum, backward_set_coeffs, backward_apply};
    if (m->blocks) {
        norm_run_job(&j);
        return;
    }
    VD_ASSERT(b->strip.mask == RELU_MASK_NONE && !b->strip.in_place);
#pragma omp parallel for num_threads(m->threads) schedule(static)
    for (int32_t c = 0; c < m->c; c++)
        norm_plain_backward(m, b, c);
}
