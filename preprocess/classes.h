/*
 * The class list of a data set: read from a file, or the sorted names of all
 * objects in all annotations of all splits. Local.
 */
#ifndef VOCDIST_PREPROCESS_CLASSES_H
#define VOCDIST_PREPROCESS_CLASSES_H

#include "base/err.h"
#include "preprocess/voc_dataset.h"

#include <stddef.h>
#include <stdint.h>

struct classes {
    char **names; /* [n], owned, in the order of the class numbers */
    int n;
    int *order; /* [n], owned: class numbers sorted by name, for search */
};

/* Reads one name per line (name_list.h), in the order of the class numbers.
 * White space inside a name becomes one blank, as in annotations. VD_DATA if a
 * name is repeated or the list is empty. */
enum vd_err classes_read(struct classes *c, const char *path) VD_MUST_USE;
/* Collects the names from the annotations that were read; the list may be
 * empty. VD_DATA if there are more than SHARD_MAX_CLASSES. */
enum vd_err classes_collect(struct classes *c,
                            const struct voc_dataset *dataset) VD_MUST_USE;
void classes_clear(struct classes *c);

/* The class number, or -1 if the name is unknown. */
int32_t classes_find(const struct classes *c, const char *name);

/* VD_DATA if the images of the splits have classes that are not in the list.
 * The message gives each with its number of objects and the nearest known
 * name. `path` is the list's file. */
enum vd_err classes_check(const struct classes *c,
                          const struct voc_dataset *dataset,
                          const char *path) VD_MUST_USE;

#endif
