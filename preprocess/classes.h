/*
 * The class list of a data set: from a file, or the sorted names of all
 * objects in all annotations, whatever the split. Local.
 */
#ifndef VOCDIST_PREPROCESS_CLASSES_H
#define VOCDIST_PREPROCESS_CLASSES_H

#include "base/err.h"
#include "preprocess/voc_dataset.h"

#include <stddef.h>
#include <stdint.h>

struct classes {
    char **names; /* owned */
    int n;
    int *order; /* owned; indices sorted by name, for look-up */
};

/* One name a line (name_list.h), in the order of the class numbers; white
 * space inside a name is one blank, as in annotations. VD_DATA for a name given
 * twice or an empty list. */
enum vd_err classes_read(struct classes *c, const char *path) VD_MUST_USE;
/* From annotations that were read; may be none. VD_DATA when too many. */
enum vd_err classes_collect(struct classes *c,
                            const struct voc_dataset *dataset) VD_MUST_USE;
void classes_clear(struct classes *c);

/* Class number, or -1. */
int32_t classes_find(const struct classes *c, const char *name);

/* VD_DATA naming every class of the picked images that the list lacks, with
 * its number of objects and the nearest known name. */
enum vd_err classes_check(const struct classes *c,
                          const struct voc_dataset *dataset,
                          const char *path) VD_MUST_USE;

#endif
