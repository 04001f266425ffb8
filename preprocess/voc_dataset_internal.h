/* Shared by the voc_dataset*.c files. */
#ifndef VOCDIST_PREPROCESS_VOC_DATASET_INTERNAL_H
#define VOCDIST_PREPROCESS_VOC_DATASET_INTERNAL_H

#include "preprocess/voc_dataset.h"

/* Reads the lists "train,val" of a dataset whose images are listed; "" makes
 * one split of all images. */
enum vd_err voc_dataset_open_splits(struct voc_dataset *dataset,
                                    const char *splits) VD_MUST_USE;
/* The same for voc_dataset_open_for_check(). */
enum vd_err voc_dataset_open_check_splits(struct voc_dataset *dataset,
                                          const char *splits) VD_MUST_USE;

#endif
