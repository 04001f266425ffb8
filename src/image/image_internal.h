/*
 * Shared by the files of this module, and its tests. Each file uses those after
 * it only:
 *
 *     image_decode.c               detects the format, turns images upright
 *     image_jpeg.c, image_png.c    wrap libjpeg and libpng
 *     image_exif.c                 wraps libexif
 *     image.c                      memory and the check of sizes
 *
 * Local.
 */
#ifndef VOCDIST_IMAGE_IMAGE_INTERNAL_H
#define VOCDIST_IMAGE_IMAGE_INTERNAL_H

#include "image/image.h"

/* A file in memory, all borrowed. */
struct image_input {
    const char *name; /* for messages */
    const uint8_t *bytes;
    size_t n;
    int64_t max_pixels; /* IMAGE_MAX_PIXELS; less in the fuzz target */
};

/* image_decode() with the limit in->max_pixels. */
enum vd_err image_decode_input(const struct image_input *in, struct image *im,
                               struct image_file_info *info) VD_MUST_USE;

/*
 * Decode the image as stored, and the orientation in its EXIF block (1..8; 1
 * without one). `im` is a new image; the caller owns it.
 */
enum vd_err image_jpeg_decode(const struct image_input *in, struct image *im,
                              int *orientation) VD_MUST_USE;
enum vd_err image_png_decode(const struct image_input *in, struct image *im,
                             int *orientation) VD_MUST_USE;

/* VD_DATA if the claimed size is empty or over a limit; call it before memory
 * is allocated. */
enum vd_err image_check_size(const struct image_input *in, uint32_t width,
                             uint32_t height) VD_MUST_USE;

/* `bytes` [n] is an EXIF block that starts with "Exif\0\0". Returns the
 * orientation, 1..8; 1 if the block has none. */
#define IMAGE_EXIF_MARK "Exif\0"
int image_exif_orientation(const uint8_t *bytes, size_t n);

#endif
