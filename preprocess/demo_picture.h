/*
 * One generated picture: two to five objects of the classes of
 * demo_shapes.h on a cluttered background. Picture i of a seed depends on
 * nothing but (seed, i, size). Local and pure.
 */
#ifndef VOCDIST_PREPROCESS_DEMO_PICTURE_H
#define VOCDIST_PREPROCESS_DEMO_PICTURE_H

#include "image/image.h"

#include <stdbool.h>
#include <stdint.h>

#define DEMO_MAX_OBJECTS 5

struct demo_object {
    int class;
    int box[4]; /* edges x1 y1 x2 y2 of its visible pixels, x2/y2 exclusive */
    bool is_truncated; /* reaches beyond the picture */
};

struct demo_picture {
    struct image image;
    /* [height, width]: 1 + index of the object seen there, 0: background. */
    uint8_t *owner; /* owned */
    struct demo_object objects[DEMO_MAX_OBJECTS];
    int n_objects;
};

/* `size` is the longer side in pixels. Clear the picture afterwards. */
enum vd_err demo_picture_draw(struct demo_picture *p, uint64_t seed,
                              uint64_t index, int size) VD_MUST_USE;
void demo_picture_clear(struct demo_picture *p);

#endif
