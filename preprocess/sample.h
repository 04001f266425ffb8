/*
 * One annotated image as the network gets it: decoded, turned upright,
 * resized, its boxes scaled with it, the largest object picked. Local.
 */
#ifndef VOCDIST_PREPROCESS_SAMPLE_H
#define VOCDIST_PREPROCESS_SAMPLE_H

#include "data/shard.h"
#include "preprocess/classes.h"
#include "preprocess/diagnostics.h"
#include "preprocess/voc_dataset.h"

#include <stdbool.h>
#include <stdint.h>

struct sample {
    struct shard_sample data; /* pixels and objects point into this sample */
    uint8_t *pixels;          /* [side, side, 3], owned */
    struct shard_object *objects;   /* owned */
    struct diagnostics diagnostics; /* of its annotation and of its image */
    uint64_t hash; /* of the pixels: as stored, or for side 0 of the original */
    bool usable;
};

/* Room for images of side x side pixels; 0: none, they are only decoded. */
enum vd_err sample_init(struct sample *s, int side) VD_MUST_USE;
void sample_clear(struct sample *s);

/*
 * Replaces what is in `s`. Every failure is a diagnostic, and `usable` then
 * false. All class names of the image must be in `classes`.
 *
 * The largest object: greatest annotation_frame_area(), the first of equals;
 * those marked difficult only where there is no other.
 */
void sample_load(struct sample *s, const struct annotated_image *p,
                 const struct classes *classes, int side);

#endif
