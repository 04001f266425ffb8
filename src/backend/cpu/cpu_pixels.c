/*
 * Image augmentation in float: affine warp with bilinear interpolation, then
 * torchvision's ColorJitter (brightness, contrast, saturation, hue in the
 * item's order), then normalization. backend/pixels.h defines each step; this
 * file is its fast version, to 1/255.
 *
 *   1. Warp or copy from uint8 [size, size, 3] to three float planes in 0..1,
 *      directly in the output buffer.
 *   2. Apply the color changes in place, in loops that the compiler vectorizes.
 *   3. Subtract the mean and divide by the standard deviation, per channel.
 */
#include "backend/cpu/cpu_pixels.h"

#include <math.h>
#include <string.h>

/* The image being processed: three planes of n values in 0..1. */
struct planes {
    float *r, *g, *b;
    size_t n;
};

/* ---- warp ---- */

/* One of the four neighbors in bilinear interpolation; weight 0 outside the
 * image. */
struct tap {
    const uint8_t *rgb;
    float weight;
};

static struct tap tap_at(const uint8_t *pixels, int32_t size, float x, float y,
                         float weight)
{
    float last = (float)(size - 1);
    if (!(x >= 0 && y >= 0 && x <= last && y <= last))
        return (struct tap){pixels, 0};
    size_t at = (size_t)y * (size_t)size + (size_t)x;
    return (struct tap){pixels + 3 * at, weight};
}

static void cpu_bilinear(const uint8_t *pixels, int32_t size, float u, float v,
                         float rgb[3])
{
    float x = floorf(u), y = floorf(v), fx = u - x, fy = v - y;
    struct tap taps[4] = {
        tap_at(pixels, size, x, y, (1 - fx) * (1 - fy)),
        tap_at(pixels, size, x + 1, y, fx * (1 - fy)),
        tap_at(pixels, size, x, y + 1, (1 - fx) * fy),
        tap_at(pixels, size, x + 1, y + 1, fx * fy),
    };
    for (int c = 0; c < 3; c++) {
        float sum = 0;
        for (int k = 0; k < 4; k++)
            sum += taps[k].weight * (float)taps[k].rgb[c];
        rgb[c] = sum * (1 / 255.0F);
    }
}

/* For positions whose four neighbors are all inside the image: no tests. */
static void cpu_bilinear_inside(const uint8_t *pixels, int32_t size, float u,
                                float v, float rgb[3])
{
    int32_t x = (int32_t)u, y = (int32_t)v;
    float fx = u - (float)x, fy = v - (float)y;
    const uint8_t *p = pixels + 3 * ((ptrdiff_t)y * size + x);
    const uint8_t *q = p + 3 * (ptrdiff_t)size;
    for (int c = 0; c < 3; c++) {
        float top = (float)p[c] + fx * (float)(p[c + 3] - p[c]);
        float bottom = (float)q[c] + fx * (float)(q[c + 3] - q[c]);
        rgb[c] = (top + fy * (bottom - top)) * (1 / 255.0F);
    }
}

static void cpu_warp(const struct batch_item *item, const uint8_t *pixels,
                     int32_t size, struct planes p)
{
    const float *t = item->warp, last = (float)(size - 1);
    size_t at = 0;
    for (int32_t y = 0; y < size; y++) {
        for (int32_t x = 0; x < size; x++, at++) {
            double fx = x, fy = y;
            float u =
                (float)((double)t[0] * fx + (double)t[1] * fy + (double)t[2]);
            float v =
                (float)((double)t[3] * fx + (double)t[4] * fy + (double)t[5]);
            float rgb[3];
            if (u >= 0 && v >= 0 && u < last && v < last)
                cpu_bilinear_inside(pixels, size, u, v, rgb);
            else
                cpu_bilinear(pixels, size, u, v, rgb);
            p.r[at] = rgb[0];
            p.g[at] = rgb[1];
            p.b[at] = rgb[2];
        }
    }
}

static void cpu_copy_unwarped(const uint8_t *pixels, struct planes p)
{
    for (size_t i = 0; i < p.n; i++) {
        p.r[i] = (float)pixels[3 * i] * (1 / 255.0F);
        p.g[i] = (float)pixels[3 * i + 1] * (1 / 255.0F);
        p.b[i] = (float)pixels[3 * i + 2] * (1 / 255.0F);
    }
}

/* ---- torchvision's color changes ---- */

static inline float cpu_clamp(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

static inline float cpu_gray(float r, float g, float b)
{
    return 0.2989F * r + 0.587F * g + 0.114F * b;
}

static void cpu_brightness(struct planes p, float factor)
{
    for (size_t i = 0; i < p.n; i++) {
        p.r[i] = cpu_clamp(factor * p.r[i]);
        p.g[i] = cpu_clamp(factor * p.g[i]);
        p.b[i] = cpu_clamp(factor * p.b[i]);
    }
}

static void cpu_contrast(struct planes p, float factor)
{
    double sum = 0;
    for (size_t i = 0; i < p.n; i++)
        sum += (double)cpu_gray(p.r[i], p.g[i], p.b[i]);
    float rest = (float)((1 - (double)factor) * (sum / (double)p.n));
    for (size_t i = 0; i < p.n; i++) {
        p.r[i] = cpu_clamp(factor * p.r[i] + rest);
        p.g[i] = cpu_clamp(factor * p.g[i] + rest);
        p.b[i] = cpu_clamp(factor * p.b[i] + rest);
    }
}

static void cpu_saturation(struct planes p, float factor)
{
    for (size_t i = 0; i < p.n; i++) {
        float rest = (1 - factor) * cpu_gray(p.r[i], p.g[i], p.b[i]);
        p.r[i] = cpu_clamp(factor * p.r[i] + rest);
        p.g[i] = cpu_clamp(factor * p.g[i] + rest);
        p.b[i] = cpu_clamp(factor * p.b[i] + rest);
    }
}

/*
 * A change of hue keeps a pixel's greatest (high) and least channel value.
 * With hue h in 0..6 (6: a full turn) and range = high - least, a channel is
 *
 *     high - range x clamp(min(d, 4 - d)),   d = (h + shift) mod 6
 *
 * with shift 5, 3, 1 for red, green, blue. This is the branch-free form of the
 * HSV to RGB conversion; it needs no division by high.
 */
static inline float hue_channel(float high, float range, float h, float shift)
{
    float d = h + shift;
    d -= d >= 6 ? 6 : 0;
    float down = 4 - d < d ? 4 - d : d;
    return high - range * cpu_clamp(down);
}

static void cpu_hue(struct planes p, float turn)
{
    for (size_t i = 0; i < p.n; i++) {
        float r = p.r[i], g = p.g[i], b = p.b[i];
        float high = r > g ? r : g, low = r < g ? r : g;
        high = b > high ? b : high;
        low = b < low ? b : low;
        float range = high - low, inverse = 1 / (range > 0 ? range : 1);
        float h = 4 + (r - g) * inverse;
        h = high == g ? 2 + (b - r) * inverse : h;
        h = high == r ? (g - b) * inverse : h;
        h += 6 * turn;
        h -= 6 * floorf(h * (1 / 6.0F));
        p.r[i] = hue_channel(high, range, h, 5);
        p.g[i] = hue_channel(high, range, h, 3);
        p.b[i] = hue_channel(high, range, h, 1);
    }
}

static void cpu_jitter(const struct batch_item *item, struct planes p)
{
    void (*const change[4])(struct planes, float) = {
        cpu_brightness, cpu_contrast, cpu_saturation, cpu_hue};
    for (int i = 0; i < 4; i++) {
        int which = item->order[i];
        VD_ASSERT(which < 4);
        float nothing = which == 3 ? 0 : 1;
        if (item->color[which] != nothing)
            change[which](p, item->color[which]);
    }
}

static void cpu_normalize(float *x, size_t n, float mean, float std)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) / std;
}

void cpu_pixels_to_input(const struct batch_item *item, const uint8_t *pixels,
                         int32_t size, const float mean[3], const float std[3],
                         float *out)
{
    static const float as_stored[6] = {1, 0, 0, 0, 1, 0};
    size_t n = (size_t)size * (size_t)size;
    struct planes p = {out, out + n, out + 2 * n, n};
    if (memcmp(item->warp, as_stored, sizeof as_stored) == 0)
        cpu_copy_unwarped(pixels, p);
    else
        cpu_warp(item, pixels, size, p);
    cpu_jitter(item, p);
    for (int c = 0; c < 3; c++) {
        if (mean[c] != 0 || std[c] != 1)
            cpu_normalize(out + (size_t)c * n, n, mean[c], std[c]);
    }
}
