/*
 * One sample of a micro-batch, as a backend receives it: the index of the
 * image, the augmentation to apply to its pixels, and the labels after
 * augmentation.
 */
#ifndef VOCDIST_DATA_BATCH_ITEM_H
#define VOCDIST_DATA_BATCH_ITEM_H

#include <stdint.h>

/*
 * The backend computes pixel (x, y) of the network's input, both 0 .. S - 1, in
 * three steps:
 *
 *  1. Affine warp (flip and rotation): sample the stored image bilinearly, with
 *     0 outside of it, at the pixel coordinates
 *
 *         u = warp[0] x + warp[1] y + warp[2]
 *         v = warp[3] x + warp[4] y + warp[5]
 *
 *  2. Color: on values in 0..1, apply brightness, contrast, saturation and hue
 *     with the factors color[0..3], in the order order[0..3], by torchvision's
 *     formulas. A factor of 1 and a hue of 0 change nothing.
 *  3. Input normalization: (value - mean) / std.
 *
 * backend/pixels.h is the reference.
 *
 * A padding item (index -1; evaluation only) has pixels NULL. Its input and its
 * result are zeros.
 */
struct batch_item {
    uint64_t position; /* step x global batch + item; dropout's random key */
    int64_t index;     /* of the image in the data set; -1: padding */
    int32_t class;
    float box[4]; /* after augmentation, pixels of the network's input */
    float warp[6];
    float color[4];
    uint8_t order[4];
};

#endif
