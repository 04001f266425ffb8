/*
 * Stored images to network input: warp (bilinear, 0 outside), torchvision's
 * ColorJitter in the item's order, normalization, and the layout of the first
 * convolution, in one pass. backend/pixels.h is the reference.
 *
 * A change of contrast needs the mean gray value of the whole image as it is
 * then. gray_sums adds it over chunks of CHUNK pixels, with the warp and the
 * changes before the contrast; write_input computes these again and adds the
 * chunks in order. Images without a change of contrast skip gray_sums.
 */
#include "kernels_internal.h"

/* Pixels per partial sum of gray values. */
#define CHUNK 2048

/* As the indexes of struct batch_item's color. */
enum { BRIGHTNESS, CONTRAST, SATURATION, HUE };

struct augment_args {
    struct kernel_augment a;
    uint32_t n_chunks;
};

/* One image. */
struct image {
    const uint8_t *pixels;
    const struct kernel_item *item;
    int32_t size;
    float gray_mean; /* before the change of contrast */
};

static __device__ __forceinline__ struct image
image_of(const struct kernel_augment *a, uint32_t i)
{
    size_t at = a->step->staging * (size_t)a->n + i;
    size_t bytes = (size_t)a->size * (size_t)a->size * 3;
    struct image image;
    image.item = &a->items[at];
    image.size = a->size;
    image.gray_mean = 0;
    image.pixels = a->resident ? a->resident : a->staged + at * bytes;
    if (a->resident && image.item->index >= 0)
        image.pixels += (size_t)image.item->index * bytes;
    return image;
}

/* ---- warp ---- */

/* Adds `weight` times the stored pixel (x, y), 0 outside the image. */
static __device__ __forceinline__ void
add_tap(const struct image *image, float x, float y, float weight, float rgb[3])
{
    float last = (float)(image->size - 1);
    if (!(x >= 0 && y >= 0 && x <= last && y <= last))
        return;
    const uint8_t *p =
        image->pixels + 3 * ((int32_t)y * image->size + (int32_t)x);
    for (int k = 0; k < 3; k++)
        rgb[k] += weight * (float)p[k];
}

/* Pixel (x, y) of the warped image, values in 0..1. */
static __device__ __forceinline__ void
warp_pixel(const struct image *image, int32_t x, int32_t y, float rgb[3])
{
    const float *t = image->item->warp;
    float u = t[0] * (float)x + t[1] * (float)y + t[2];
    float v = t[3] * (float)x + t[4] * (float)y + t[5];
    float left = floorf(u), top = floorf(v), fx = u - left, fy = v - top;
    for (int k = 0; k < 3; k++)
        rgb[k] = 0;
    add_tap(image, left, top, (1 - fx) * (1 - fy), rgb);
    add_tap(image, left + 1, top, fx * (1 - fy), rgb);
    add_tap(image, left, top + 1, (1 - fx) * fy, rgb);
    add_tap(image, left + 1, top + 1, fx * fy, rgb);
    for (int k = 0; k < 3; k++)
        rgb[k] *= 1 / 255.0f;
}

/* ---- color ---- */

static __device__ __forceinline__ float clamp01(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

/* ITU-R BT.601 luma, with torchvision's coefficients. */
static __device__ __forceinline__ float gray_of(const float rgb[3])
{
    return 0.2989f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

static __device__ __forceinline__ void blend(float rgb[3], float factor,
                                             float other)
{
    float rest = (1 - factor) * other;
    for (int k = 0; k < 3; k++)
        rgb[k] = clamp01(factor * rgb[k] + rest);
}

/* A channel of hue h, 0 <= h < 6: high - range clamp(min(d, 4 - d)) with
 * d = (h + shift) mod 6; shift 5, 3, 1 for red, green, blue. */
static __device__ __forceinline__ float channel_of_hue(float high, float range,
                                                       float h, float shift)
{
    float d = h + shift;
    d -= d >= 6 ? 6 : 0;
    return high - range * clamp01(d < 4 - d ? d : 4 - d);
}

/* Rotates the hue (HSV) by `turn` of a full circle; greatest and least channel
 * value stay. */
static __device__ __forceinline__ void rotate_hue(float rgb[3], float turn)
{
    float r = rgb[0], g = rgb[1], b = rgb[2];
    float high = r > g ? r : g, low = r < g ? r : g;
    high = b > high ? b : high;
    low = b < low ? b : low;
    float range = high - low, inverse = 1 / (range > 0 ? range : 1);
    float h = 4 + (r - g) * inverse;
    h = high == g ? 2 + (b - r) * inverse : h;
    h = high == r ? (g - b) * inverse : h;
    h += 6 * turn;
    h -= 6 * floorf(h * (1 / 6.0f));
    rgb[0] = channel_of_hue(high, range, h, 5);
    rgb[1] = channel_of_hue(high, range, h, 3);
    rgb[2] = channel_of_hue(high, range, h, 1);
}

/* The color changes in the item's order, or only those before the contrast. */
static __device__ __forceinline__ void
change_color(const struct image *image, int before_contrast, float rgb[3])
{
    for (int i = 0; i < 4; i++) {
        int which = image->item->order[i];
        float factor = image->item->color[which];
        if (which == CONTRAST && before_contrast)
            return;
        if (factor == (which == HUE ? 0 : 1))
            continue;
        if (which == BRIGHTNESS)
            blend(rgb, factor, 0);
        else if (which == CONTRAST)
            blend(rgb, factor, image->gray_mean);
        else if (which == SATURATION)
            blend(rgb, factor, gray_of(rgb));
        else
            rotate_hue(rgb, factor);
    }
}

/* ---- mean gray value ---- */

/* 1 if the image's mean gray value is used. */
static __device__ __forceinline__ int has_contrast(const struct image *image)
{
    return image->item->index >= 0 && image->item->color[CONTRAST] != 1;
}

/* Block (x, y): chunks x, x + gridDim.x, ... of image y. */
KERNEL(gray_sums, augment_args, a)
{
    struct image image = image_of(&a.a, blockIdx.y);
    uint32_t size = (uint32_t)a.a.size, n = size * size;
    if (!has_contrast(&image))
        return;
    for (uint32_t chunk = blockIdx.x; chunk < a.n_chunks; chunk += gridDim.x) {
        uint32_t end = (chunk + 1) * CHUNK < n ? (chunk + 1) * CHUNK : n;
        double sum = 0;
        for (uint32_t i = chunk * CHUNK + threadIdx.x; i < end;
             i += KERNEL_THREADS) {
            float rgb[3];
            warp_pixel(&image, (int32_t)(i % size), (int32_t)(i / size), rgb);
            change_color(&image, 1, rgb);
            sum += (double)gray_of(rgb);
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0)
            a.a.partials[blockIdx.y * (size_t)a.n_chunks + chunk] = sum;
    }
}

static __device__ __forceinline__ float gray_mean(const struct augment_args *a)
{
    const double *partials = a->a.partials + blockIdx.y * (size_t)a->n_chunks;
    double sum = 0;
    for (uint32_t i = 0; i < a->n_chunks; i++)
        sum += partials[i];
    return (float)(sum / ((double)a->a.size * (double)a->a.size));
}

/* ---- input ---- */

/* Pixel (x, y) of the input; 0 outside and for padding items. */
static __device__ __forceinline__ void
input_pixel(const struct kernel_augment *a, const struct image *image,
            int32_t x, int32_t y, float rgb[3])
{
    for (int k = 0; k < 3; k++)
        rgb[k] = 0;
    if (image->item->index < 0 || x < 0 || y < 0 || x >= a->size ||
        y >= a->size)
        return;
    warp_pixel(image, x, y, rgb);
    change_color(image, 0, rgb);
    for (int k = 0; k < 3; k++)
        rgb[k] = (rgb[k] - a->mean[k]) / a->std[k];
}

static __device__ __forceinline__ void
store4(void *base, size_t i, enum kernel_type type, const float v[4])
{
    if (type == KERNEL_F32)
        store4f((float *)base, i, v);
    else
        store4h(base, i, v, type);
}

/* Element i of the grid of pixels or cells, `side` wide. */
static __device__ __forceinline__ void
write_nhwc(const struct kernel_augment *a, const struct image *image,
           uint32_t side, uint32_t i)
{
    float v[4] = {0, 0, 0, 0}, zeros[4] = {0, 0, 0, 0};
    size_t first = ((size_t)blockIdx.y * side * side + i) * (size_t)a->c;
    input_pixel(a, image, (int32_t)(i % side), (int32_t)(i / side), v);
    store4(a->out, first, a->type, v);
    for (size_t k = 4; k < (size_t)a->c; k += 4)
        store4(a->out, first + k, a->type, zeros);
}

static __device__ __forceinline__ void
write_cell(const struct kernel_augment *a, const struct image *image,
           uint32_t side, uint32_t i)
{
    float v[16] = {0};
    size_t first = ((size_t)blockIdx.y * side * side + i) * 16;
    int32_t x = 2 * (int32_t)(i % side) - 3, y = 2 * (int32_t)(i / side) - 3;
    /* Not a loop, so that v is in registers. */
    input_pixel(a, image, x, y, v);
    input_pixel(a, image, x + 1, y, v + 3);
    input_pixel(a, image, x, y + 1, v + 6);
    input_pixel(a, image, x + 1, y + 1, v + 9);
    store8(a->out, first, a->type, v);
    store8(a->out, first + 8, a->type, v + 8);
}

KERNEL(write_input, augment_args, a)
{
    int cells = a.a.layout == KERNEL_SPACE_TO_DEPTH;
    uint32_t side = (uint32_t)(cells ? (a.a.size + 6) / 2 : a.a.size);
    struct image image = image_of(&a.a, blockIdx.y);
    if (has_contrast(&image))
        image.gray_mean = gray_mean(&a);
    uint32_t i = blockIdx.x * KERNEL_THREADS + threadIdx.x;
    for (; i < side * side; i += gridDim.x * KERNEL_THREADS) {
        if (cells)
            write_cell(&a.a, &image, side, i);
        else
            write_nhwc(&a.a, &image, side, i);
    }
}

static uint32_t gray_chunks(int32_t size)
{
    return ((uint32_t)size * (uint32_t)size + CHUNK - 1) / CHUNK;
}

size_t kernel_augment_partials(int32_t n, int32_t size)
{
    return (size_t)n * gray_chunks(size);
}

int kernel_augment(struct kernel_queue queue, const struct kernel_augment *a)
{
    struct augment_args args = {*a, gray_chunks(a->size)};
    size_t side =
        (size_t)(a->layout == KERNEL_NHWC ? a->size : (a->size + 6) / 2);
    size_t blocks = (side * side + KERNEL_THREADS - 1) / KERNEL_THREADS;
    int err = LAUNCH(gray_sums, queue,
                     grid_blocks(queue, args.n_chunks, (unsigned)a->n),
                     (unsigned)a->n, args);
    return err ? err
               : LAUNCH(write_input, queue,
                        grid_blocks(queue, blocks, (unsigned)a->n),
                        (unsigned)a->n, args);
}
