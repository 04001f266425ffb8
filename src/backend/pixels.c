/*
 * Image augmentation in double, one image at a time (definition: struct
 * batch_item):
 *
 *   1. affine warp of the stored image, bilinear, 0 outside it
 *   2. torchvision's ColorJitter: brightness, contrast, saturation and hue in
 *      the item's order, each clamped to 0..1
 *   3. (value - mean) / std per channel
 *
 * Values are in 0..1 between the steps, in three planes (r, g, b) of the
 * output array. Written for clarity: backends use their own faster code.
 */
#include "backend/pixels.h"

#include <math.h>

/* An image between the steps: three planes of n values in 0..1. */
struct planes {
    double *r, *g, *b;
    size_t n;
};

/* Channel `c` of the stored image at pixel (x, y), 0 outside. */
static double stored_channel(const uint8_t *pixels, int32_t size, double x,
                             double y, int c)
{
    if (!(x >= 0 && y >= 0 && x < size && y < size))
        return 0;
    size_t at = (size_t)y * (size_t)size + (size_t)x;
    return pixels[3 * at + (size_t)c] / 255.0;
}

static double pixels_bilinear(const uint8_t *pixels, int32_t size, double u,
                              double v, int c)
{
    double x = floor(u), y = floor(v), fx = u - x, fy = v - y;
    double top = (1 - fx) * stored_channel(pixels, size, x, y, c) +
                 fx * stored_channel(pixels, size, x + 1, y, c);
    double bottom = (1 - fx) * stored_channel(pixels, size, x, y + 1, c) +
                    fx * stored_channel(pixels, size, x + 1, y + 1, c);
    return (1 - fy) * top + fy * bottom;
}

static void pixels_warp(const float t[6], const uint8_t *pixels, int32_t size,
                        double *out)
{
    for (int c = 0; c < 3; c++) {
        for (int32_t y = 0; y < size; y++) {
            for (int32_t x = 0; x < size; x++) {
                double u = (double)t[0] * x + (double)t[1] * y + (double)t[2];
                double v = (double)t[3] * x + (double)t[4] * y + (double)t[5];
                *out++ = pixels_bilinear(pixels, size, u, v, c);
            }
        }
    }
}

/* ---- color jitter, by torchvision's formulas ---- */

static double pixels_clamp(double x)
{
    return fmin(fmax(x, 0), 1);
}

/* ITU-R BT.601 luma, with torchvision's coefficients. */
static double pixels_gray(double r, double g, double b)
{
    return 0.2989 * r + 0.587 * g + 0.114 * b;
}

static double pixels_blend(double x, double other, double ratio)
{
    return pixels_clamp(ratio * x + (1 - ratio) * other);
}

static void pixels_brightness(struct planes p, double factor)
{
    for (size_t i = 0; i < p.n; i++) {
        p.r[i] = pixels_blend(p.r[i], 0, factor);
        p.g[i] = pixels_blend(p.g[i], 0, factor);
        p.b[i] = pixels_blend(p.b[i], 0, factor);
    }
}

static void pixels_contrast(struct planes p, double factor)
{
    double sum = 0;
    for (size_t i = 0; i < p.n; i++)
        sum += pixels_gray(p.r[i], p.g[i], p.b[i]);
    double mean = sum / (double)p.n;
    for (size_t i = 0; i < p.n; i++) {
        p.r[i] = pixels_blend(p.r[i], mean, factor);
        p.g[i] = pixels_blend(p.g[i], mean, factor);
        p.b[i] = pixels_blend(p.b[i], mean, factor);
    }
}

static void pixels_saturation(struct planes p, double factor)
{
    for (size_t i = 0; i < p.n; i++) {
        double other = pixels_gray(p.r[i], p.g[i], p.b[i]);
        p.r[i] = pixels_blend(p.r[i], other, factor);
        p.g[i] = pixels_blend(p.g[i], other, factor);
        p.b[i] = pixels_blend(p.b[i], other, factor);
    }
}

/* Hue in sixths of a turn, from -1 to 5; 0 for gray. `range` is the greatest
 * channel minus the smallest. */
static double hue_of(double r, double g, double b, double high, double range)
{
    if (range == 0)
        return 0;
    if (high == r)
        return (g - b) / range;
    if (high == g)
        return 2 + (b - r) / range;
    return 4 + (r - g) / range;
}

/* RGB to HSV, hue + `turn` (in turns), HSV to RGB. */
static void pixels_rotate_hue(double *r, double *g, double *b, double turn)
{
    double high = fmax(*r, fmax(*g, *b)), low = fmin(*r, fmin(*g, *b));
    double s = high == low ? 0 : (high - low) / high;
    double sixths = hue_of(*r, *g, *b, high, high - low) + 6 * turn;
    sixths -= 6 * floor(sixths / 6);
    double f = sixths - floor(sixths);
    double p = pixels_clamp(high * (1 - s)),
           q = pixels_clamp(high * (1 - s * f));
    double t = pixels_clamp(high * (1 - s * (1 - f)));
    const double rgb[6][3] = {{high, t, p}, {q, high, p}, {p, high, t},
                              {p, q, high}, {t, p, high}, {high, p, q}};
    const double *to = rgb[(int)sixths % 6];
    *r = to[0];
    *g = to[1];
    *b = to[2];
}

static void pixels_hue(struct planes p, double turn)
{
    if (turn == 0)
        return;
    for (size_t i = 0; i < p.n; i++)
        pixels_rotate_hue(&p.r[i], &p.g[i], &p.b[i], turn);
}

static void pixels_jitter(const struct batch_item *item, struct planes p)
{
    void (*const change[4])(struct planes, double) = {
        pixels_brightness, pixels_contrast, pixels_saturation, pixels_hue};
    for (int i = 0; i < 4; i++) {
        int which = item->order[i];
        VD_ASSERT(which < 4);
        change[which](p, (double)item->color[which]);
    }
}

void pixels_to_input(const struct batch_item *item, const uint8_t *pixels,
                     int32_t size, const float mean[3], const float std[3],
                     double *out)
{
    size_t n = (size_t)size * (size_t)size;
    pixels_warp(item->warp, pixels, size, out);
    pixels_jitter(item, (struct planes){out, out + n, out + 2 * n, n});
    for (size_t i = 0; i < 3 * n; i++)
        out[i] = (out[i] - (double)mean[i / n]) / (double)std[i / n];
}
