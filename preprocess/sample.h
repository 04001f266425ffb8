/*
 * One annotated picture as the network gets it: decoded, turned upright,
 * squashed, its boxes scaled with it, the largest object picked. Local.
 */
#ifndef VOCDIST_PREPROCESS_SAMPLE_H
#define VOCDIST_PREPROCESS_SAMPLE_H

#include "data/shard.h"
#include "preprocess/classes.h"
#include "preprocess/findings.h"
#include "preprocess/tree.h"

#include <stdbool.h>
#include <stdint.h>

struct sample {
    struct shard_sample data; /* pixels and objects point into this sample */
    uint8_t *pixels;          /* [side, side, 3], owned */
    struct shard_object *objects; /* owned */
    struct findings findings;     /* of its annotation and of its picture */
    uint64_t hash; /* of the pixels: as stored, or for side 0 of the original */
    bool usable;
};

/* Room for pictures of side x side pixels; 0: none, they are only decoded. */
enum vd_err sample_init(struct sample *s, int side) VD_MUST_USE;
void sample_clear(struct sample *s);

/*
 * Replaces what is in `s`. Every failure is a finding, and `usable` then
 * false. All class names of the picture must be in `classes`.
 *
 * The largest object: greatest frame_area(), the first of equals; those
 * marked difficult only where there is no other.
 */
void sample_make(struct sample *s, const struct picture *p,
                 const struct classes *classes, int side);

#endif
