/*
 * The one drawing module: boxes with labels over images, and sheets of
 * several images. Fonts are cairo's built-in one, so that an image looks
 * the same on every machine. Local.
 */
#ifndef VOCDIST_IMAGE_DRAW_H
#define VOCDIST_IMAGE_DRAW_H

#include "image/image.h"

struct draw_color {
    double r, g, b; /* 0..1 */
};

/*
 * Box edges x1 y1 x2 y2 in pixels of `im`, drawn inside the box; parts outside
 * the image are cut off. A box without area (x2 <= x1 or y2 <= y1: swapped
 * corners) is a dashed line from corner to corner. The label (may be NULL)
 * stays inside the image; its characters beyond ASCII become '?'. Images of
 * up to 32767 a side.
 */
enum vd_err draw_box(struct image *im, const float box[4],
                     struct draw_color color, const char *label) VD_MUST_USE;

/*
 * A sheet of n images in rows of `columns`, each scaled to fit into cell x
 * cell, with a caption under each (captions and entries of it may be NULL).
 * `sheet` is made new.
 */
enum vd_err draw_sheet(struct image *sheet, const struct image *images,
                       const char *const *captions, int n, int columns,
                       int cell) VD_MUST_USE;

#endif
