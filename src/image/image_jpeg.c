/*
 * JPEG by libjpeg; no other file uses it.
 *
 * Decoding: read the header, check the size, read the EXIF orientation, then
 * decode row by row to RGB, or to CMYK and convert. Writing: encode row by row
 * into a temporary file that replaces the old one at the end.
 *
 * libjpeg reports an error by calling on_jpeg_error(), which leaves by
 * longjmp() to *_guarded(). After a longjmp() changed local variables are
 * indeterminate, so the only variable there is a pointer that never changes,
 * and everything that must be freed is reachable through it.
 */
#include "base/alloc.h"
#include "base/memory.h"
#include "image/image_internal.h"
#include "store/atomic.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Bytes for the coefficients of a progressive image with four full planes. */
#define MAX_MEMORY ((long)(8 * IMAGE_MAX_PIXELS))

struct jpeg_guard {
    struct jpeg_error_mgr error;
    jmp_buf escape;
    char text[JMSG_LENGTH_MAX];
};

static void on_jpeg_error(j_common_ptr common)
{
    struct jpeg_guard *g = common->client_data;
    common->err->format_message(common, g->text);
    longjmp(g->escape, 1);
}

/* Negative levels are warnings. A truncated file causes only a warning. */
static void on_jpeg_message(j_common_ptr common, int level)
{
    if (level < 0)
        on_jpeg_error(common);
}

static void set_error_handlers(struct jpeg_guard *g, j_common_ptr common)
{
    common->err = jpeg_std_error(&g->error);
    common->client_data = g;
    g->error.error_exit = on_jpeg_error;
    g->error.emit_message = on_jpeg_message;
}

struct jpeg_reader {
    struct jpeg_guard guard;
    struct jpeg_decompress_struct jpeg;
    struct jpeg_progress_mgr progress;
    const struct image_input *in; /* borrowed */
    struct image im;              /* owned */
    uint8_t *cmyk;                /* owned; one row [width, 4] */
    int orientation;
};

static void stop_at_many_scans(j_common_ptr common)
{
    struct jpeg_guard *g = common->client_data;
    if (((j_decompress_ptr)common)->input_scan_number <= IMAGE_MAX_SCANS)
        return;
    snprintf(g->text, sizeof g->text, "more than %d scans", IMAGE_MAX_SCANS);
    longjmp(g->escape, 1);
}

static int read_jpeg_orientation(j_decompress_ptr jpeg)
{
    const size_t n = sizeof IMAGE_EXIF_MARK;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->data_length >= n && !memcmp(m->data, IMAGE_EXIF_MARK, n))
            return image_exif_orientation(m->data, m->data_length);
    return 1;
}

/* a x b / 255, rounded; exact for bytes. */
static uint8_t scale_byte(unsigned a, unsigned b)
{
    return (uint8_t)((a * b + 127) / 255);
}

/* CMYK values are stored inverted, as Adobe does and other readers assume. */
static void rgb_from_cmyk(uint8_t *rgb, const uint8_t *cmyk, size_t n)
{
    for (size_t i = 0; i < n; i++, rgb += 3, cmyk += 4)
        for (int c = 0; c < 3; c++)
            rgb[c] = scale_byte(cmyk[c], cmyk[3]);
}

static enum vd_err decode_jpeg_header(struct jpeg_reader *r)
{
    j_decompress_ptr jpeg = &r->jpeg;
    jpeg_create_decompress(jpeg);
    r->progress.progress_monitor = stop_at_many_scans;
    jpeg->progress = &r->progress;
    jpeg->mem->max_memory_to_use = MAX_MEMORY;
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(jpeg, r->in->bytes, (unsigned long)r->in->n);
    jpeg_read_header(jpeg, TRUE);
    return image_check_size(r->in, jpeg->image_width, jpeg->image_height);
}

static enum vd_err decode_jpeg(struct jpeg_reader *r)
{
    j_decompress_ptr jpeg = &r->jpeg;
    VD_TRY(decode_jpeg_header(r));
    r->orientation = read_jpeg_orientation(jpeg);
    const bool four = jpeg->num_components == 4;
    jpeg->out_color_space = four ? JCS_CMYK : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(jpeg); // also reads all scans of a progressive file

    const size_t width = jpeg->output_width;
    VD_TRY(image_new(&r->im, (int)width, (int)jpeg->output_height));
    if (four)
        r->cmyk = xcalloc(width, 4);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = r->im.rgb + 3 * width * jpeg->output_scanline;
        JSAMPROW row = four ? r->cmyk : to;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (four)
            rgb_from_cmyk(to, r->cmyk, width);
    }
    jpeg_finish_decompress(jpeg);
    return VD_OK;
}

static enum vd_err decode_jpeg_guarded(struct jpeg_reader *r)
{
    if (!setjmp(r->guard.escape))
        return decode_jpeg(r);
    if (r->guard.error.msg_code == JERR_OUT_OF_MEMORY)
        return memory_raise_oom(r->in->name, 0);
    return VD_FAIL(VD_DATA,
                   "%s: JPEG: %s\n"
                   "the file is damaged or truncated: download or convert it "
                   "again",
                   r->in->name, r->guard.text);
}

enum vd_err image_jpeg_decode(const struct image_input *in, struct image *im,
                              int *orientation_out)
{
    struct jpeg_reader r = {.in = in};
    set_error_handlers(&r.guard, (j_common_ptr)&r.jpeg);
    enum vd_err err = decode_jpeg_guarded(&r);
    if (err == VD_OK) {
        *im = r.im;
        *orientation_out = r.orientation;
    } else
        image_clear(&r.im);
    free(r.cmyk);
    jpeg_destroy_decompress(&r.jpeg);
    return err;
}

struct jpeg_writer {
    struct jpeg_guard guard;
    struct jpeg_compress_struct jpeg;
    struct atomic_file file; /* owned */
    const struct image *im;  /* borrowed */
    int quality;
};

static void encode_jpeg(struct jpeg_writer *w)
{
    j_compress_ptr jpeg = &w->jpeg;
    const struct image *im = w->im;
    jpeg_create_compress(jpeg);
    jpeg_stdio_dest(jpeg, w->file.stream);
    jpeg->image_width = (JDIMENSION)im->width;
    jpeg->image_height = (JDIMENSION)im->height;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, w->quality, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row =
            im->rgb + (size_t)3 * (size_t)im->width * jpeg->next_scanline;
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
}

static enum vd_err encode_jpeg_guarded(struct jpeg_writer *w)
{
    if (setjmp(w->guard.escape))
        return VD_FAIL(VD_IO, "%s: JPEG: %s", w->file.path, w->guard.text);
    encode_jpeg(w);
    return VD_OK;
}

enum vd_err image_write_jpeg(const struct image *im, const char *path,
                             int quality)
{
    struct jpeg_writer w = {.im = im, .quality = quality};
    VD_TRY(atomic_open(&w.file, path));
    set_error_handlers(&w.guard, (j_common_ptr)&w.jpeg);
    enum vd_err err = encode_jpeg_guarded(&w);
    jpeg_destroy_compress(&w.jpeg);
    if (err == VD_OK)
        err = atomic_commit(&w.file);
    atomic_abort(&w.file);
    return err;
}
