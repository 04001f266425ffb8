/*
 * Checks between the splits of one data set: the same image in training and
 * validation, by name or by pixels (data leakage), and classes without a
 * training image. Both make validation metrics meaningless. They are
 * diagnostics and do not stop packing. Local.
 *
 * The names of the splits decide which must be disjoint: train..., val... and
 * test... must be; trainval... contains train and val. Any other name must be
 * disjoint from all others, and is for training if it is the first split. If
 * every list is read (voc_dataset_open_for_check), other names may overlap with
 * any split, so they are not compared. The training split is the first split
 * for training.
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
    uint64_t hash;       /* of its pixels as stored */
    size_t index, split; /* into dataset.images and dataset.splits */
};

/* Same image in two splits: adds to the diagnostics of the later split, with
 * the list's file and line. */
void split_check_names(struct voc_dataset *dataset);
/* Different images with the same pixels in two splits; sorts `images` [n].
 * `found` [n_splits]: diagnostics of each split. */
void split_check_pixels(const struct voc_dataset *dataset,
                        struct split_image *images, size_t n,
                        struct diagnostics *found);
/* Classes that the training split lacks. `counts` [n_splits, n_classes]: images
 * with this label; `found` [n_splits]. */
void split_check_classes(const struct voc_dataset *dataset,
                         const struct classes *classes, const size_t *counts,
                         struct diagnostics *found);

#endif
