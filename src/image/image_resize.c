/* Separable resampling: for each output row, blend the input rows of its
 * vertical window into one float row, then blend that row horizontally. */
#include "base/alloc.h"
#include "image/image.h"

#include <math.h>
#include <stdlib.h>

/*
 * The window of one output position along one axis: a weighted mean of the
 * inputs [first, first + n).
 */
struct span {
    int first, n;
};

struct axis {
    struct span *spans; /* [n_out], owned */
    float *weights;     /* [n_out, room], owned */
    size_t room;
};

/*
 * The weights are a triangle centered at the output pixel's position in the
 * input; its half width is one pixel of the coarser of the two grids.
 */
static void axis_init(struct axis *a, int n_in, int n_out)
{
    const double scale = (double)n_in / n_out, half = fmax(scale, 1);
    a->room = 2 * (size_t)ceil(half) + 1;
    a->spans = xcalloc((size_t)n_out, sizeof *a->spans);
    a->weights = xcalloc((size_t)n_out * a->room, sizeof *a->weights);
    for (int i = 0; i < n_out; i++) {
        const double center = (i + 0.5) * scale;
        const int first = (int)fmax(center - half + 0.5, 0);
        const int end = (int)fmin(center + half + 0.5, n_in);
        float *w = a->weights + (size_t)i * a->room;
        double sum = 0;
        for (int k = first; k < end; k++)
            sum += fmax(1 - fabs(k + 0.5 - center) / half, 0);
        for (int k = first; k < end; k++)
            w[k - first] =
                (float)(fmax(1 - fabs(k + 0.5 - center) / half, 0) / sum);
        a->spans[i] = (struct span){first, end - first};
    }
}

static void axis_clear(struct axis *a)
{
    free(a->spans);
    free(a->weights);
}

/* blend[i] = sum over k of weights[k] x rows[k][i]; `rows` is [n_rows, n]. The
 * loops over i are vectorized by the compiler. */
static void blend_rows(float *restrict blend, const uint8_t *restrict rows,
                       size_t n, const float *weights, int n_rows)
{
    for (size_t i = 0; i < n; i++)
        blend[i] = weights[0] * (float)rows[i];
    for (int k = 1; k < n_rows; k++) {
        const uint8_t *row = rows + (size_t)k * n;
        for (size_t i = 0; i < n; i++)
            blend[i] += weights[k] * (float)row[i];
    }
}

/*
 * Rounds to the nearest integer, ties to even: after adding 1.5 x 2^23 a float
 * has no fraction bits. Weights are >= 0 with sum 1, so x is in 0..255 and no
 * clamp is needed.
 */
static uint8_t to_byte(float x)
{
    const float shift = 0x1.8p23f;
    return (uint8_t)(int)((x + shift) - shift);
}

/* One row of output, `n` pixels. It computes four sums and drops the fourth
 * (the next pixel's red), because a vector register holds four floats. */
static void blend_columns(uint8_t *restrict out, const float *restrict blend,
                          const struct axis *a, size_t n)
{
    for (size_t x = 0; x < n; x++) {
        const struct span s = a->spans[x];
        const float *w = a->weights + x * a->room;
        const float *from = blend + (size_t)3 * (size_t)s.first;
        float sum[4] = {0};
        for (int k = 0; k < s.n; k++, from += 3)
            for (int c = 0; c < 4; c++)
                sum[c] += w[k] * from[c];
        for (int c = 0; c < 3; c++)
            out[3 * x + (size_t)c] = to_byte(sum[c]);
    }
}

enum vd_err image_resize(const struct image *im, int width, int height,
                         uint8_t *out)
{
    VD_ASSERT(width > 0 && height > 0 && im->width > 0 && im->height > 0);
    struct axis across, down;
    const size_t row = (size_t)3 * (size_t)im->width;
    void *memory = NULL;
    VD_TRY(
        alloc_aligned(&memory, row + 1, sizeof(float), "one row of an image"));
    float *blend = memory; // + 1: blend_columns() reads a fourth channel
    axis_init(&across, im->width, width);
    axis_init(&down, im->height, height);
    for (int y = 0; y < height; y++) {
        const struct span s = down.spans[y];
        blend_rows(blend, im->rgb + row * (size_t)s.first, row,
                   down.weights + (size_t)y * down.room, s.n);
        blend_columns(out + (size_t)3 * (size_t)y * (size_t)width, blend,
                      &across, (size_t)width);
    }
    axis_clear(&down);
    axis_clear(&across);
    alloc_aligned_free(memory);
    return VD_OK;
}
