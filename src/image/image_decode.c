/* Decodes a file: detects the format, decodes the stored image with
 * image_jpeg.c or image_png.c, and turns it upright. */
#include "base/file.h"
#include "image/image_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Turns the image upright. Each EXIF orientation is a walk through the stored
 * image: orientations from 5 on exchange columns and rows, and either direction
 * may run backwards.
 */
static enum vd_err apply_exif_orientation(struct image *im, int orientation)
{
    const int o = orientation;
    const bool swap = o >= 5;
    const bool flip_x = o == 2 || o == 3 || o == 7 || o == 8;
    const bool flip_y = o == 3 || o == 4 || o == 6 || o == 7;
    const int w = im->width, h = im->height;
    struct image up;
    if (o == 1)
        return VD_OK;
    VD_TRY(image_new(&up, swap ? h : w, swap ? w : h));

    const ptrdiff_t step_x = flip_x ? -3 : 3;
    const ptrdiff_t step_y = (ptrdiff_t)3 * (flip_y ? -w : w);
    const ptrdiff_t along = swap ? step_y : step_x;
    const ptrdiff_t down = swap ? step_x : step_y;
    const ptrdiff_t start = (ptrdiff_t)3 * (flip_x ? w - 1 : 0) +
                            (ptrdiff_t)3 * w * (flip_y ? h - 1 : 0);
    uint8_t *to = up.rgb;
    for (int y = 0; y < up.height; y++) {
        ptrdiff_t from = start + y * down;
        for (int x = 0; x < up.width; x++, from += along, to += 3)
            memcpy(to, im->rgb + from, 3);
    }
    image_clear(im);
    *im = up;
    return VD_OK;
}

static bool starts_with(const struct image_input *in, const char *mark,
                        size_t n)
{
    return in->n >= n && !memcmp(in->bytes, mark, n);
}

enum vd_err image_decode_input(const struct image_input *in, struct image *im,
                               struct image_file_info *info)
{
    struct image stored = {0};
    struct image_file_info stored_info = {.orientation = 1};
    if (in->n == 0)
        return VD_FAIL(VD_DATA, "%s: an empty file", in->name);
    if (starts_with(in, "\xff\xd8\xff", 3))
        VD_TRY(image_jpeg_decode(in, &stored, &stored_info.orientation));
    else if (starts_with(in, "\x89PNG\r\n\x1a\n", 8))
        VD_TRY(image_png_decode(in, &stored, &stored_info.orientation));
    else
        return VD_FAIL(VD_DATA,
                       "%s: neither a JPEG nor a PNG image\n"
                       "convert it to one of them",
                       in->name);

    stored_info.width = stored.width;
    stored_info.height = stored.height;
    enum vd_err err = apply_exif_orientation(&stored, stored_info.orientation);
    if (err != VD_OK) {
        image_clear(&stored);
        return err;
    }
    *im = stored;
    if (info)
        *info = stored_info;
    return VD_OK;
}

enum vd_err image_decode(struct image *im, struct image_file_info *info,
                         const char *name, const void *bytes, size_t n)
{
    struct image_input in = {name, bytes, n, IMAGE_MAX_PIXELS};
    return image_decode_input(&in, im, info);
}

enum vd_err image_read(struct image *im, struct image_file_info *info,
                       const char *path)
{
    char *bytes = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, IMAGE_MAX_FILE_BYTES, &bytes, &n));
    enum vd_err err = image_decode(im, info, path, bytes, n);
    free(bytes);
    return err;
}
