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

/* A black image; width and height must be positive. The caller clears it. */
enum vd_err image_new(struct image *im, int width, int height) VD_MUST_USE;
void image_clear(struct image *im);

/* Properties of the stored image, before it is turned upright. */
struct image_file_info {
    int width, height; /* as stored */
    int orientation;   /* EXIF 1..8; 1 when absent */
};

/*
 * Limits against hostile files, which could exhaust memory or time (a JPEG of
 * 26 KB can claim 12.9 GB; a progressive one can take 23 s).
 */
#define IMAGE_MAX_FILE_BYTES ((size_t)64 << 20)
#define IMAGE_MAX_PIXELS     ((int64_t)64 << 20)
#define IMAGE_MAX_SCANS      100
#define IMAGE_MAX_SIDE       65500

/*
 * Decodes a JPEG (gray, RGB/YCC, CMYK/YCCK) or a PNG (any depth; alpha over
 * white) to RGB and turns it upright by its EXIF orientation. The format is
 * detected by content. `name` is for messages; `info` may be NULL. VD_DATA if
 * the file is malformed, truncated or over a limit. libjpeg's warnings are
 * errors, since libjpeg only warns about a truncated file. Bytes after the end
 * of the image are ignored.
 *
 * JPEG pixels come from libjpeg's accurate integer DCT with smooth chroma
 * upsampling, the setting of PIL and torchvision; with the same library they
 * are equal bit by bit (compared with libjpeg-turbo 2.1.5). CMYK is always
 * taken as inverted (Adobe's convention), whether or not the file declares it.
 * PNG samples of 16 bits are rounded to 8; alpha is applied to the stored
 * values; gamma and color profiles are ignored.
 */
enum vd_err image_decode(struct image *im, struct image_file_info *info,
                         const char *name, const void *bytes,
                         size_t n) VD_MUST_USE;
/* The same for a file. VD_NOINPUT if it cannot be opened. */
enum vd_err image_read(struct image *im, struct image_file_info *info,
                       const char *path) VD_MUST_USE;

/* Both replace `path` (store/atomic.h). VD_CREATE if it cannot be created,
 * VD_IO if it cannot be written. */
enum vd_err image_write_png(const struct image *im,
                            const char *path) VD_MUST_USE;
/* Baseline JPEG, 4:2:0 chroma subsampling; quality 1..100. */
enum vd_err image_write_jpeg(const struct image *im, const char *path,
                             int quality) VD_MUST_USE;

/*
 * Resizes to width x height without keeping the aspect ratio; `out` is
 * [height, width, 3]. The filter is a triangle whose support grows with the
 * reduction, as in PyTorch's interpolate(mode="bilinear", antialias=True).
 * Values are rounded to nearest, ties to even. Resizing to the image's own size
 * copies it. The result has the same bits on every machine.
 */
enum vd_err image_resize(const struct image *im, int width, int height,
                         uint8_t *out) VD_MUST_USE;

#endif
