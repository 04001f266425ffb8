/*
 * One annotated image as a training sample: decoded, rotated upright and
 * resized, the boxes scaled with it, and the largest object as the label.
 * Local.
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
    uint64_t hash; /* of the resized pixels; for side 0 of the original ones */
    bool usable;   /* decoded, with at least one object */
};

/* Allocates pixels for images of side x side; 0: images are only decoded. */
enum vd_err sample_init(struct sample *s, int side) VD_MUST_USE;
/* May be a zeroed one. */
void sample_clear(struct sample *s);

/*
 * Overwrites `s`; `side` is that of sample_init(). A failure is a diagnostic
 * and leaves `usable` false. All class names of the image must be in `classes`.
 *
 * The largest object has the largest annotation_frame_area(); the first one
 * wins a tie. Objects marked difficult are considered only if there are no
 * others.
 */
void sample_load(struct sample *s, const struct annotated_image *p,
                 const struct classes *classes, int side);

#endif
