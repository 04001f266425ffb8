/* Shared by the voc_dataset*.c files. */
#ifndef VOCDIST_PREPROCESS_VOC_DATASET_INTERNAL_H
#define VOCDIST_PREPROCESS_VOC_DATASET_INTERNAL_H

#include "preprocess/voc_dataset.h"

/* Lists the images of all roots and makes their ids unique. `dataset` is {0}
 * before; the caller closes it, also after an error. */
enum vd_err voc_dataset_list_images(struct voc_dataset *dataset,
                                    char *const *roots,
                                    int n_roots) VD_MUST_USE;

#endif
