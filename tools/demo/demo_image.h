/*
 * One generated image: two to five objects of the classes of demo_shapes.h on a
 * cluttered background. It depends on (seed, index, size) only. Local and pure.
 */
#ifndef VOCDIST_TOOLS_DEMO_DEMO_IMAGE_H
#define VOCDIST_TOOLS_DEMO_DEMO_IMAGE_H

#include "image/image.h"

#include <stdbool.h>
#include <stdint.h>

#define DEMO_MAX_OBJECTS 5

struct demo_object {
    int class;
    int box[4]; /* edges x1 y1 x2 y2 of its visible pixels, x2/y2 exclusive */
    bool is_truncated; /* extends beyond the image */
};

struct demo_image {
    struct image image;
    /* [height, width]: 1 + index of the visible object, 0: background. */
    uint8_t *owner; /* owned */
    struct demo_object objects[DEMO_MAX_OBJECTS];
    int n_objects;
};

/* `size` is the longer side, in pixels. The caller clears the image. */
enum vd_err demo_image_draw(struct demo_image *p, uint64_t seed, uint64_t index,
                            int size) VD_MUST_USE;
void demo_image_clear(struct demo_image *p);

#endif
