/*
 * Data augmentation. The parameters are drawn on the host, as a function of
 * (seed, position) alone; the backend transforms the pixels. Boxes are
 * transformed here. Local and pure.
 *
 * The horizontal flip comes first, then a counterclockwise rotation about the
 * center. The box becomes the axis-aligned bounding box of its rotated corners,
 * clipped to the image.
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
    double hue; /* shift: uniform in +-hue; 1 is the full color circle */
};

/*
 * Fills warp, color, order and box of `item` from the stored box `box`; the
 * caller has set item->position. Images are size x size pixels. If `augment` is
 * NULL or disabled, the image and the box stay unchanged.
 */
void augment_draw(const struct augment *augment, uint64_t seed, int size,
                  const float box[4], struct batch_item *item);

#endif
