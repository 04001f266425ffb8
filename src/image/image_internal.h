/*
 * What the parts of this module share: image.c tells formats apart and turns
 * images upright, image_jpeg.c, image_png.c and image_exif.c each wrap one
 * library. Not for other modules. Local.
 */
#ifndef VOCDIST_IMAGE_IMAGE_INTERNAL_H
#define VOCDIST_IMAGE_IMAGE_INTERNAL_H

#include "image/image.h"

/* A file in memory, all borrowed. */
struct image_input {
    const char *name; /* for messages */
    const uint8_t *bytes;
    size_t n;
    int64_t max_pixels; /* IMAGE_MAX_PIXELS; the fuzz target takes less */
};

/* image_decode with a limit of one's own. */
enum vd_err image_decode_input(const struct image_input *in, struct image *im,
                               struct image_file_info *info) VD_MUST_USE;

/*
 * The image as stored, and what its EXIF block says about its orientation
 * (1..8). `im` is made new.
 */
enum vd_err image_jpeg_decode(const struct image_input *in, struct image *im,
                              int *orientation) VD_MUST_USE;
enum vd_err image_png_decode(const struct image_input *in, struct image *im,
                             int *orientation) VD_MUST_USE;

/* VD_DATA when a file claims a size that is not to be allocated. */
enum vd_err image_check_size(const struct image_input *in, uint32_t width,
                             uint32_t height) VD_MUST_USE;

/* Bytes of an EXIF block from its "Exif\0\0" on; 1 when it does not say. */
#define IMAGE_EXIF_MARK "Exif\0"
int image_exif_orientation(const uint8_t *bytes, size_t n);

#endif
