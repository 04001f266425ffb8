/*
 * Boxes: x1 y1 x2 y2 in pixels, 0-based, x2 y2 exclusive, so the area is
 * (x2 - x1)(y2 - y1). Results are computed in double and rounded once to
 * float32. Input and output may be the same array. Local and pure.
 */
#ifndef VOCDIST_DATA_BOX_H
#define VOCDIST_DATA_BOX_H

/* Scales a box from an original image of from[0] x from[1] pixels to a stored
 * image of to[0] x to[1] pixels, and clips it to the stored image. */
void box_scale(const double in[4], const int from[2], const int to[2],
               float out[4]);

/* Horizontal flip in an image of `width` pixels. */
void box_flip(const float in[4], int width, float out[4]);

/*
 * Rotates the image about its center, counterclockwise as displayed (y points
 * down), and returns the axis-aligned bounding box of the rotated corners,
 * clipped to the image. A small box near a corner of the image may be rotated
 * out of it; the result then lies on the border and has no area.
 */
void box_rotate(const float in[4], double degrees, int width, int height,
                float out[4]);

/* 0 if x2 <= x1, y2 <= y1 or an edge is NaN. */
double box_area(const float box[4]);
/* Intersection over union, 0..1; 0 if one of the boxes has no area. */
double box_iou(const float a[4], const float b[4]);

#endif
