/*
 * Drawing: boxes with labels on an image, and sheets of several images. Text
 * uses cairo's built-in font, so the result does not depend on installed fonts.
 * Local.
 */
#ifndef VOCDIST_IMAGE_DRAW_H
#define VOCDIST_IMAGE_DRAW_H

#include "image/image.h"

struct draw_color {
    double r, g, b; /* 0..1 */
};

/*
 * Draws a box, x1 y1 x2 y2 in pixels of `im`. The outline lies inside the box;
 * parts outside the image are clipped. A box without area (x2 <= x1 or y2 <=
 * y1: swapped corners) becomes a dashed line from corner to corner. The label
 * stays inside the image and may be NULL; its characters outside ASCII become
 * '?'. VD_DATA for images of more than 32767 pixels a side.
 */
enum vd_err draw_box(struct image *im, const float box[4],
                     struct draw_color color, const char *label) VD_MUST_USE;

/*
 * Draws n images in rows of `columns`, each scaled to fit into cell x cell
 * pixels, with a caption below it (`captions` and its entries may be NULL).
 * `sheet` is a new image; the caller owns it. VD_DATA if it would have more
 * than 32767 pixels a side.
 */
enum vd_err draw_sheet(struct image *sheet, const struct image *images,
                       const char *const *captions, int n, int columns,
                       int cell) VD_MUST_USE;

#endif
