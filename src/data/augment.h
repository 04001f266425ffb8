/*
 * Augmentation: what is done to an image in training is drawn here, on the
 * host, as a function of (seed, position) alone; the backend does it to the
 * pixels. Boxes are transformed here. Local and pure.
 *
 * Flip first, then an anticlockwise turn about the centre; the box becomes the
 * upright box around its turned corners, clipped to the image.
 */
#ifndef VOCDIST_DATA_AUGMENT_H
#define VOCDIST_DATA_AUGMENT_H

#include "data/batch_item.h"

#include <stdbool.h>

struct augment {
    bool enable;
    double flip;       /* probability */
    double rotate;     /* degrees: uniform in +-rotate */
    double brightness; /* factor: uniform in 1 +- brightness, not below 0 */
    double contrast, saturation;
    double hue; /* shift: uniform in +-hue, of a full turn */
};

/*
 * Fills warp, color, order and box of `item`, whose position is set, from the
 * stored box, for images of `size` pixels. With NULL or a disabled
 * `augment` the image stays as it is.
 */
void augment_draw(const struct augment *augment, uint64_t seed, int size,
                  const float box[4], struct batch_item *item);

#endif
