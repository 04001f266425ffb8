/*
 * Images in memory and in files. All calls are Local and thread-safe.
 */
#ifndef VOCDIST_IMAGE_IMAGE_H
#define VOCDIST_IMAGE_IMAGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
    uint8_t *rgb; /* [height, width, 3], owned */
    int width, height;
};

/* Black. Sizes are positive. */
enum vd_err image_new(struct image *im, int width, int height) VD_MUST_USE;
void image_clear(struct image *im);

/* What the file said about itself before it was turned upright. */
struct image_file_info {
    int width, height; /* as stored */
    int orientation;   /* EXIF 1..8; 1 when absent */
};

/*
 * Limits that keep a hostile file from taking the machine (a 26 KB JPEG can
 * claim 12.9 GB; a progressive one can burn 23 s).
 */
#define IMAGE_MAX_FILE_BYTES ((size_t)64 << 20)
#define IMAGE_MAX_PIXELS     ((int64_t)64 << 20)
#define IMAGE_MAX_SCANS      100
#define IMAGE_MAX_SIDE       65500

/*
 * Decodes JPEG (gray, RGB/YCC, CMYK/YCCK) or PNG (any depth; alpha over
 * white), told apart by content, as RGB, turned upright by its EXIF tag.
 * `name` is for messages. VD_DATA when malformed, truncated or over a limit.
 * libjpeg's warnings are errors (a truncated file only warns); bytes behind
 * the image's end are not looked at.
 *
 * JPEG pixels come from libjpeg's accurate integer transform with smooth
 * chroma, the setting of PIL and torchvision: equal to theirs bit by bit where
 * the library is the same (libjpeg-turbo 2.1.5 compared). CMYK is taken as
 * inverted (Adobe's way), whether or not the file says so. PNG samples of 16
 * bits are rounded to 8; alpha is applied to the stored values; gamma and
 * color profiles are not.
 */
enum vd_err image_decode(struct image *im, struct image_file_info *info,
                         const char *name, const void *bytes,
                         size_t n) VD_MUST_USE;
/* The same from a file. `info` may be NULL. */
enum vd_err image_read(struct image *im, struct image_file_info *info,
                       const char *path) VD_MUST_USE;

enum vd_err image_write_png(const struct image *im,
                            const char *path) VD_MUST_USE;
/* Baseline, 4:2:0; quality 1..100. */
enum vd_err image_write_jpeg(const struct image *im, const char *path,
                             int quality) VD_MUST_USE;

/*
 * Resizes (aspect ratio not kept) to width x height with a triangle filter
 * whose support grows with the reduction, as PyTorch's
 * interpolate(mode="bilinear", antialias=True) does, rounded to nearest (ties
 * to even). The image's own size copies it. The same bits on every machine.
 * `out` is [height, width, 3].
 */
enum vd_err image_resize(const struct image *im, int width, int height,
                         uint8_t *out) VD_MUST_USE;

#endif
