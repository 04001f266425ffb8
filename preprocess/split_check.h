/*
 * What can be wrong between the splits of one data set: the same image in
 * training and validation, by name or by pixels, and classes that no training
 * image has. Either makes what validation measures worthless, and neither
 * stops anything. Local.
 *
 * The names of splits decide: train..., val... and test... must have
 * nothing in common; trainval... holds train and val. Other names must have
 * nothing in common with any, and the first of them is for training; but where
 * every list is read (voc_dataset_open_for_check), nothing is known of them.
 */
#ifndef VOCDIST_PREPROCESS_SPLIT_CHECK_H
#define VOCDIST_PREPROCESS_SPLIT_CHECK_H

#include "preprocess/classes.h"
#include "preprocess/diagnostics.h"
#include "preprocess/voc_dataset.h"

#include <stddef.h>
#include <stdint.h>

/* An image that was packed. */
struct split_image {
    uint64_t hash; /* of its pixels as stored */
    size_t index, split;
};

/* Adds to the diagnostics of the later split, by file and line. */
void split_check_names(struct voc_dataset *dataset);
/* `images` [n] are sorted anew; `found` [n_splits]. Names are not compared. */
void split_check_pixels(const struct voc_dataset *dataset,
                        struct split_image *images, size_t n,
                        struct diagnostics *found);
/* `counts` [n_splits, n_classes]: images with this label; `found` [n_splits].
 */
void split_check_classes(const struct voc_dataset *dataset,
                         const struct classes *classes, const size_t *counts,
                         struct diagnostics *found);

#endif
