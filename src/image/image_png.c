/*
 * PNG by libpng; no other file uses it.
 *
 * Decoding: read the header, check the size, let libpng expand every format to
 * 8-bit RGB or RGBA, read all rows, blend alpha over white in place, and read
 * the EXIF orientation. Writing: encode row by row into a temporary file that
 * replaces the old one at the end.
 *
 * libpng reports an error by calling on_png_error(), which leaves by longjmp()
 * to *_guarded(). After a longjmp() changed local variables are indeterminate,
 * so the only variable there is a pointer that never changes, and everything
 * that must be freed is reachable through it.
 */
#include "base/alloc.h"
#include "image/image_internal.h"
#include "store/atomic.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

struct png_guard {
    jmp_buf escape;
    char text[256];
};

static _Noreturn void on_png_error(png_structp png, png_const_charp text)
{
    struct png_guard *g = png_get_error_ptr(png);
    snprintf(g->text, sizeof g->text, "%s", text);
    longjmp(g->escape, 1);
}

/* Warnings are ignored: many real files have harmless ones. Damaged pixels are
 * errors. */
static void on_png_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

struct png_reader {
    struct png_guard guard;
    png_structp png;              /* owned */
    png_infop info;               /* owned */
    const struct image_input *in; /* borrowed */
    size_t at;                    /* bytes read so far */
    struct image im;              /* owned; [height, width, 4] while read */
    int orientation;
};

static void read_png_bytes(png_structp png, png_bytep to, size_t n)
{
    struct png_reader *r = png_get_io_ptr(png);
    if (n > r->in->n - r->at)
        png_error(png, "the file ends early");
    memcpy(to, r->in->bytes + r->at, n);
    r->at += n;
}

/*
 * Of the optional chunks only transparency and EXIF are read, so damaged
 * compressed texts or color profiles do no harm. A chunk that claims more bytes
 * than the file has is rejected before memory is allocated for it; libpng does
 * so only if "benign" errors are errors.
 */
static void set_png_limits(struct png_reader *r)
{
    static const png_byte exif[] = "eXIf";
    png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_benign_errors(r->png, 0);
    png_set_chunk_malloc_max(r->png, r->in->n);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_AS_DEFAULT, exif, 1);
}

static int read_png_orientation(struct png_reader *r)
{
    const size_t mark = sizeof IMAGE_EXIF_MARK;
    png_bytep exif = NULL;
    png_uint_32 n = 0;
    if (!png_get_eXIf_1(r->png, r->info, &n, &exif))
        return 1;
    uint8_t *block = xcalloc(mark + n, 1); // a PNG omits the mark
    memcpy(block, IMAGE_EXIF_MARK, mark);
    memcpy(block + mark, exif, n);
    int value = image_exif_orientation(block, mark + n);
    free(block);
    return value;
}

/* Blends over white: [n, 4] to [n, 3] in place. */
static void rgb_from_rgba(uint8_t *pixels, size_t n)
{
    const uint8_t *from = pixels;
    for (size_t i = 0; i < n; i++, from += 4, pixels += 3) {
        unsigned a = from[3], white = 255 * (255 - a);
        for (int c = 0; c < 3; c++)
            pixels[c] = (uint8_t)((from[c] * a + white + 127) / 255);
    }
}

static enum vd_err decode_png_pixels(struct png_reader *r)
{
    const size_t width = png_get_image_width(r->png, r->info);
    const size_t height = png_get_image_height(r->png, r->info);
    png_set_expand(r->png); // palette, < 8 bit, transparent color
    png_set_scale_16(r->png);
    png_set_gray_to_rgb(r->png);
    const int n_passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    const size_t channels = png_get_channels(r->png, r->info);
    const size_t row = width * channels;
    VD_ASSERT(png_get_rowbytes(r->png, r->info) == row && channels >= 3);

    void *pixels = NULL;
    VD_TRY(alloc_aligned(&pixels, row, height, "image"));
    r->im = (struct image){pixels, (int)width, (int)height};
    for (int pass = 0; pass < n_passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(r->png, r->im.rgb + y * row, NULL);
    png_read_end(r->png, r->info);
    if (channels == 4)
        rgb_from_rgba(r->im.rgb, width * height);
    return VD_OK;
}

static enum vd_err decode_png(struct png_reader *r)
{
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r->guard,
                                    on_png_error, on_png_warning);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    if (!r->info)
        return VD_FAIL(VD_SYSTEM, "%s: libpng cannot be initialized",
                       r->in->name);
    png_set_read_fn(r->png, r, read_png_bytes);
    set_png_limits(r);
    png_read_info(r->png, r->info);
    VD_TRY(image_check_size(r->in, png_get_image_width(r->png, r->info),
                            png_get_image_height(r->png, r->info)));
    VD_TRY(decode_png_pixels(r));
    r->orientation = read_png_orientation(r);
    return VD_OK;
}

static enum vd_err decode_png_guarded(struct png_reader *r)
{
    if (setjmp(r->guard.escape))
        return VD_FAIL(VD_DATA,
                       "%s: PNG: %s\n"
                       "the file is damaged or truncated: download or convert "
                       "it again",
                       r->in->name, r->guard.text);
    return decode_png(r);
}

enum vd_err image_png_decode(const struct image_input *in, struct image *im,
                             int *orientation_out)
{
    struct png_reader r = {.in = in};
    enum vd_err err = decode_png_guarded(&r);
    if (err == VD_OK) {
        *im = r.im;
        *orientation_out = r.orientation;
    } else
        image_clear(&r.im);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return err;
}

struct png_writer {
    struct png_guard guard;
    png_structp png;         /* owned */
    png_infop info;          /* owned */
    struct atomic_file file; /* owned */
    const struct image *im;  /* borrowed */
};

static enum vd_err encode_png(struct png_writer *w)
{
    const struct image *im = w->im;
    w->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w->guard,
                                     on_png_error, on_png_warning);
    w->info = w->png ? png_create_info_struct(w->png) : NULL;
    if (!w->info)
        return VD_FAIL(VD_SYSTEM, "%s: libpng cannot be initialized",
                       w->file.path);
    png_init_io(w->png, w->file.stream);
    png_set_IHDR(w->png, w->info, (png_uint_32)im->width,
                 (png_uint_32)im->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (size_t y = 0; y < (size_t)im->height; y++)
        png_write_row(w->png, im->rgb + 3 * y * (size_t)im->width);
    png_write_end(w->png, w->info);
    return VD_OK;
}

static enum vd_err encode_png_guarded(struct png_writer *w)
{
    if (setjmp(w->guard.escape))
        return VD_FAIL(VD_IO, "%s: PNG: %s", w->file.path, w->guard.text);
    return encode_png(w);
}

enum vd_err image_write_png(const struct image *im, const char *path)
{
    struct png_writer w = {.im = im};
    VD_TRY(atomic_open(&w.file, path));
    enum vd_err err = encode_png_guarded(&w);
    png_destroy_write_struct(&w.png, &w.info);
    if (err == VD_OK)
        err = atomic_commit(&w.file);
    atomic_abort(&w.file);
    return err;
}
