/*
 * Boxes: x1 y1 x2 y2 in pixels, 0-based, x2 y2 exclusive, so that the area is
 * (x2 - x1)(y2 - y1). Computed in double, rounded once to float32. Inputs and
 * outputs may be the same array. Local and pure.
 */
#ifndef VOCDIST_DATA_BOX_H
#define VOCDIST_DATA_BOX_H

/* From an original image of from[0] x from[1] pixels to a stored one of
 * to[0] x to[1]; clipped to it. */
void box_scale(const double in[4], const int from[2], const int to[2],
               float out[4]);

/* Mirrored left to right in an image `width` wide. */
void box_flip(const float in[4], int width, float out[4]);

/*
 * The upright hull of the box's corners after the image was turned about its
 * centre, anticlockwise as seen, clipped to the image. A small box near a
 * corner may leave the image: then it has no area, on the border.
 */
void box_rotate(const float in[4], double degrees, int width, int height,
                float out[4]);

/* 0 for a box without area: x2 <= x1, y2 <= y1, or an edge that is NaN. */
double box_area(const float box[4]);
/* Intersection over union: 0..1, 0 where one of them has no area. */
double box_iou(const float a[4], const float b[4]);

#endif
