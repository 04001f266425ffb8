/*
 * Drawing with cairo; no other file uses it. A function opens a canvas (a cairo
 * surface of the image's size), copies the RGB pixels into it, draws, checks
 * cairo's status once at the end (an error state makes later calls no-ops), and
 * copies the pixels back. An image is therefore unchanged after an error.
 *
 * Coordinates are whole pixels wherever lines must be sharp, and are clamped to
 * the image before they reach cairo, so NaN and infinite boxes are safe.
 */
#include "image/draw.h"

#include "base/alloc.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cairo.h>

#define CAIRO_MAX_SIDE 32767 /* pixels, of an image surface */

#define SHEET_MARGIN  8.0
#define SHEET_FONT    13.0
#define SHEET_CAPTION 22.0 /* height of a caption, pixels */
#define SMALLEST_FONT 7.0

/* A cairo surface to draw on. */
struct cairo_canvas {
    cairo_surface_t *surface; /* owned */
    cairo_t *cairo;           /* owned */
};

static enum vd_err canvas_check(const struct cairo_canvas *c)
{
    cairo_status_t status = cairo_status(c->cairo);
    if (status == CAIRO_STATUS_SUCCESS)
        return VD_OK;
    return VD_FAIL(VD_SYSTEM, "drawing: %s", cairo_status_to_string(status));
}

static void canvas_close(struct cairo_canvas *c)
{
    cairo_destroy(c->cairo);
    cairo_surface_destroy(c->surface);
}

static enum vd_err canvas_open(struct cairo_canvas *c, int64_t width,
                               int64_t height)
{
    if (width > CAIRO_MAX_SIDE || height > CAIRO_MAX_SIDE)
        return VD_FAIL(
            VD_DATA,
            "drawing: the image has %lld x %lld pixels; the limit is "
            "%d a side\nscale the image down first",
            (long long)width, (long long)height, CAIRO_MAX_SIDE);
    c->surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    c->cairo = cairo_create(c->surface);
    cairo_font_options_t *font = cairo_font_options_create();
    cairo_font_options_set_antialias(font, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(c->cairo, font);
    cairo_font_options_destroy(font);
    cairo_select_font_face(c->cairo, "@cairo:", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_BOLD);
    enum vd_err err = canvas_check(c);
    if (err != VD_OK)
        canvas_close(c);
    return err;
}

/* CAIRO_FORMAT_RGB24 stores a pixel as one native 32-bit word, 0x00RRGGBB. */
static uint32_t *canvas_row(const struct cairo_canvas *c, int y)
{
    uint8_t *data = cairo_image_surface_get_data(c->surface);
    int stride = cairo_image_surface_get_stride(c->surface);
    return (uint32_t *)(void *)(data + (ptrdiff_t)y * stride);
}

static void canvas_put(struct cairo_canvas *c, int left, int top,
                       const struct image *im)
{
    const uint8_t *from = im->rgb;
    cairo_surface_flush(c->surface);
    for (int y = 0; y < im->height; y++) {
        uint32_t *to = canvas_row(c, top + y) + left;
        for (int x = 0; x < im->width; x++, from += 3)
            to[x] = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
    }
    cairo_surface_mark_dirty(c->surface);
}

static void canvas_get(const struct cairo_canvas *c, struct image *im)
{
    uint8_t *to = im->rgb;
    cairo_surface_flush(c->surface);
    for (int y = 0; y < im->height; y++) {
        const uint32_t *from = canvas_row(c, y);
        for (int x = 0; x < im->width; x++, to += 3) {
            to[0] = (uint8_t)(from[x] >> 16);
            to[1] = (uint8_t)(from[x] >> 8);
            to[2] = (uint8_t)from[x];
        }
    }
}

/*
 * Replaces each character that is not printable ASCII by one '?': the built-in
 * font has ASCII only, and cairo rejects invalid UTF-8. Owned by the caller.
 */
static char *to_printable_ascii(const char *text)
{
    char *copy = xstrdup(text), *to = copy;
    for (const char *from = text; *from; from++) {
        const unsigned char byte = (unsigned char)*from;
        if ((byte & 0xc0) != 0x80) // not inside a UTF-8 sequence
            *to++ = byte >= ' ' && byte <= '~' ? *from : '?';
    }
    *to = '\0';
    return copy;
}

/* Sets the largest font size up to `size` with which `text` is at most `room`
 * pixels wide, but at least SMALLEST_FONT. Returns the width of the text. */
static double fit_font(cairo_t *cairo, const char *text, double size,
                       double room)
{
    cairo_text_extents_t extents;
    cairo_set_font_size(cairo, size);
    cairo_text_extents(cairo, text, &extents);
    if (extents.x_advance > room) {
        cairo_set_font_size(
            cairo, fmax(SMALLEST_FONT, size * room / extents.x_advance));
        cairo_text_extents(cairo, text, &extents);
    }
    return extents.x_advance;
}

/* Returns `low` for NaN. */
static double clamp_coordinate(double x, double low, double high)
{
    return !(x > low) ? low : (x > high ? high : x);
}

/* Grows with the image, so that lines stay visible when a large image is
 * displayed at a small size. Pixels. */
static double line_width(const struct image *im)
{
    const double side = im->width < im->height ? im->width : im->height;
    return fmax(2, round(fmax(fmin(3, side / 120), side / 250)));
}

struct rect {
    double x, y, width, height;
};

/* False if an edge is NaN. */
static bool has_area(const float box[4])
{
    return box[2] > box[0] && box[3] > box[1];
}

/* The box clamped to the image and rounded to whole pixels, so that lines are
 * sharp; swapped corners are put in order. */
static struct rect box_rect(const struct image *im, const float box[4])
{
    const double x1 = round(clamp_coordinate(box[0], 0, im->width));
    const double y1 = round(clamp_coordinate(box[1], 0, im->height));
    const double x2 = round(clamp_coordinate(box[2], 0, im->width));
    const double y2 = round(clamp_coordinate(box[3], 0, im->height));
    return (struct rect){fmin(x1, x2), fmin(y1, y2), fabs(x2 - x1),
                         fabs(y2 - y1)};
}

/* A colored line with a dark border of 1 pixel on both sides, all inside the
 * box. */
static void draw_outline(cairo_t *cairo, struct rect r, double line,
                         struct draw_color color)
{
    const double inset = line / 2 + 1;
    cairo_rectangle(cairo, r.x + inset, r.y + inset,
                    fmax(r.width - 2 * inset, 0),
                    fmax(r.height - 2 * inset, 0));
    cairo_set_line_join(cairo, CAIRO_LINE_JOIN_MITER);
    cairo_set_line_width(cairo, line + 2);
    cairo_set_source_rgba(cairo, 0, 0, 0, 0.65);
    cairo_stroke_preserve(cairo);
    cairo_set_line_width(cairo, line);
    cairo_set_source_rgb(cairo, color.r, color.g, color.b);
    cairo_stroke(cairo);
}

/* A dashed line between the two corners, so that it is not mistaken for a
 * box. */
static void draw_diagonal(cairo_t *cairo, const struct image *im,
                          const float box[4], double line,
                          struct draw_color color)
{
    const double dash = 3 * line;
    cairo_move_to(cairo, clamp_coordinate(box[0], 0, im->width),
                  clamp_coordinate(box[1], 0, im->height));
    cairo_line_to(cairo, clamp_coordinate(box[2], 0, im->width),
                  clamp_coordinate(box[3], 0, im->height));
    cairo_set_line_cap(cairo, CAIRO_LINE_CAP_ROUND); /* a point is a dot */
    cairo_set_dash(cairo, &dash, 1, 0);
    cairo_set_line_width(cairo, line);
    cairo_set_source_rgb(cairo, color.r, color.g, color.b);
    cairo_stroke(cairo);
}

/* Draws the label above the box if there is room, else below its top edge. The
 * label is moved sideways and its font reduced to stay inside the image. */
static void draw_label(cairo_t *cairo, const struct image *im, struct rect r,
                       double line, struct draw_color color, const char *label)
{
    cairo_font_extents_t font;
    const double pad = line + 1;
    char *text = to_printable_ascii(label);
    const double width =
        fit_font(cairo, text, 4 + 4 * line, im->width - 2 * pad) + 2 * pad;
    cairo_font_extents(cairo, &font);
    const double height = ceil(font.ascent + font.descent + line);
    const double left = floor(clamp_coordinate(r.x, 0, im->width - width));
    const double above = r.y - height;
    const double top =
        above >= 0 ? above : clamp_coordinate(r.y, 0, im->height - height);

    cairo_rectangle(cairo, left, top, ceil(width), height);
    cairo_set_source_rgb(cairo, color.r, color.g, color.b);
    cairo_fill(cairo);
    // Black text on light colors, white on dark ones, by luma (ITU-R BT.601).
    const double light = 0.3 * color.r + 0.59 * color.g + 0.11 * color.b;
    const double ink = light > 0.5 ? 0 : 1;
    cairo_set_source_rgb(cairo, ink, ink, ink);
    cairo_move_to(cairo, left + pad, round(top + line / 2 + font.ascent));
    cairo_show_text(cairo, text);
    free(text);
}

enum vd_err draw_box(struct image *im, const float box[4],
                     struct draw_color color, const char *label)
{
    struct cairo_canvas c;
    VD_TRY(canvas_open(&c, im->width, im->height));
    canvas_put(&c, 0, 0, im);
    const struct rect r = box_rect(im, box);
    const double line = line_width(im);
    if (has_area(box))
        draw_outline(c.cairo, r, line, color);
    else
        draw_diagonal(c.cairo, im, box, line, color);
    if (label && *label)
        draw_label(c.cairo, im, r, line, color, label);
    enum vd_err err = canvas_check(&c);
    if (err == VD_OK)
        canvas_get(&c, im);
    canvas_close(&c);
    return err;
}

/* Scales the image to the cell, centers it and aligns it with the bottom. */
static enum vd_err draw_scaled_image(struct cairo_canvas *c,
                                     const struct image *im, struct rect cell)
{
    struct image small;
    const double scale =
        cell.width / (im->width > im->height ? im->width : im->height);
    const int width = (int)fmax(1, round(im->width * scale));
    const int height = (int)fmax(1, round(im->height * scale));
    VD_TRY(image_new(&small, width, height));
    enum vd_err err = image_resize(im, width, height, small.rgb);
    if (err == VD_OK)
        canvas_put(c, (int)(cell.x + (cell.width - width) / 2),
                   (int)(cell.y + cell.height - height), &small);
    image_clear(&small);
    return err;
}

static void draw_caption(cairo_t *cairo, struct rect cell, const char *caption)
{
    char *text = to_printable_ascii(caption);
    const double width = fit_font(cairo, text, SHEET_FONT, cell.width);
    const double bottom = cell.y + cell.height;
    cairo_save(cairo);
    cairo_rectangle(cairo, cell.x, bottom, cell.width, SHEET_CAPTION);
    cairo_clip(cairo);
    cairo_set_source_rgb(cairo, 0.13, 0.13, 0.13);
    cairo_move_to(cairo, cell.x + round(fmax(cell.width - width, 0) / 2),
                  bottom + round(SHEET_CAPTION * 0.7));
    cairo_show_text(cairo, text);
    cairo_restore(cairo);
    free(text);
}

static enum vd_err draw_cells(struct cairo_canvas *c,
                              const struct image *images,
                              const char *const *captions, int n, int columns,
                              int cell)
{
    const double step = cell + SHEET_MARGIN;
    const double step_down = step + (captions ? SHEET_CAPTION : 0);
    cairo_set_source_rgb(c->cairo, 0.96, 0.96, 0.96);
    cairo_paint(c->cairo);
    for (int i = 0; i < n; i++) {
        const struct rect r = {SHEET_MARGIN + i % columns * step,
                               SHEET_MARGIN + i / columns * step_down, cell,
                               cell};
        VD_TRY(draw_scaled_image(c, &images[i], r));
        if (captions && captions[i])
            draw_caption(c->cairo, r, captions[i]);
    }
    return canvas_check(c);
}

enum vd_err draw_sheet(struct image *sheet, const struct image *images,
                       const char *const *captions, int n, int columns,
                       int cell)
{
    VD_ASSERT(n > 0 && columns > 0 && cell > 0);
    const int64_t margin = (int64_t)SHEET_MARGIN, step = cell + margin;
    const int64_t step_down = step + (captions ? (int64_t)SHEET_CAPTION : 0);
    const int64_t rows = ((int64_t)n + columns - 1) / columns;
    const int64_t used = n < columns ? n : columns;
    struct cairo_canvas c;
    struct image im = {0};
    VD_TRY(canvas_open(&c, margin + used * step, margin + rows * step_down));
    enum vd_err err = draw_cells(&c, images, captions, n, columns, cell);
    if (err == VD_OK)
        err = image_new(&im, cairo_image_surface_get_width(c.surface),
                        cairo_image_surface_get_height(c.surface));
    if (err == VD_OK) {
        canvas_get(&c, &im);
        *sheet = im;
    }
    canvas_close(&c);
    return err;
}
