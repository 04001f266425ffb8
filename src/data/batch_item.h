/*
 * One image of a micro-batch, as data hands it to a backend: which sample,
 * what is to be done to its pixels, and the labels after that.
 */
#ifndef VOCDIST_DATA_BATCH_ITEM_H
#define VOCDIST_DATA_BATCH_ITEM_H

#include <stdint.h>

/*
 * Pixel (x, y) of the network's input, both 0 .. S - 1, is taken at pixel
 * coordinates
 *
 *     u = warp[0] x + warp[1] y + warp[2]
 *     v = warp[3] x + warp[4] y + warp[5]
 *
 * of the stored image, bilinear, 0 outside (flip and rotation are both in
 * it); then brightness, contrast, saturation and hue are applied with factors
 * color[0..3] in the order order[0..3] (torchvision's formulas on values in
 * 0..1; a factor of 1 and a hue of 0 change nothing), then (value - mean) /
 * std of the input normalisation. backend/pixels.h is the reference.
 *
 * A padding item (index -1; evaluation only) has pixels NULL, an input of
 * zeros and a result of zeros.
 */
struct batch_item {
    uint64_t position; /* step x global batch + item: the key of dropout */
    int64_t index;     /* of the image in the data set; -1: padding */
    int32_t class;
    float box[4]; /* already transformed; pixels of the network's input */
    float warp[6];
    float color[4];
    uint8_t order[4];
};

#endif
