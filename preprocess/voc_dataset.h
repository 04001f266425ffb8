/*
 * The annotated images of one or more VOC folders:
 *
 *     ROOT/Annotations/STEM.xml        (or annotations/; .XML as well)
 *     ROOT/JPEGImages/STEM.jpg         (or images/)
 *     ROOT/ImageSets/Main/SPLIT.txt
 *
 * or, without these two folders, ROOT/STEM.xml and ROOT/STEM.jpg side by side.
 * Subfolders are not read; those with annotations are diagnostics.
 *
 * An image belongs to an annotation by its stem with .jpg, .jpeg or .png in
 * any case; of several, the annotation's <filename> decides. Without any, it
 * is the one that <filename> names. Of that, the part behind the last slash or
 * backslash counts. Names that come from inside a file are only ever looked up
 * in the folder's listing, so none can lead out of it.
 *
 * Split files have one image a line (name_list.h); of repeated names the
 * first counts, and lines marked -1 are left out.
 *
 * The id of an image is its stem. A stem that several roots have (whatever
 * the split) gets the name of its root in front, "VOC2007-000005"; roots of
 * the same name are told apart as "NAME", "NAME-2". Should such an id be a
 * stem as well, that is an error.
 *
 * Order: roots as given; in each, the split file's order, or without splits
 * the stems sorted by bytes. All calls are Local.
 */
#ifndef VOCDIST_PREPROCESS_VOC_DATASET_H
#define VOCDIST_PREPROCESS_VOC_DATASET_H

#include "base/err.h"
#include "base/file.h"
#include "preprocess/annotation.h"
#include "preprocess/diagnostics.h"

#include <stdbool.h>
#include <stddef.h>

struct annotated_image {
    char *id, *xml_path, *image_path; /* owned; image_path: NULL when missing */
    char *stem;                     /* owned: the file's name without ".xml" */
    struct annotation annotation;   /* owned; of use only if `readable` */
    struct diagnostics diagnostics; /* of its annotation and image file */
    bool in_split;                  /* in one of the splits */
    bool readable;                  /* after voc_dataset_read */
    int root;
};

struct voc_root {
    char *path, *label;               /* owned */
    char *annotation_dir, *image_dir; /* folders, owned */
    struct file_list image_files;     /* names in `image_dir` */
    size_t first, n;                  /* its images, sorted by file name */
    size_t *by_stem;                  /* [n], the same sorted by stem; owned */
};

struct voc_split {
    char *name;      /* owned; "" for "every annotated image" */
    size_t *members; /* owned; into dataset.images */
    int *lines;      /* [n], owned: in the split file; 0 without one */
    size_t n;
    size_t n_excluded;              /* lines marked -1 */
    struct diagnostics diagnostics; /* of its lines */
};

struct voc_dataset {
    struct voc_root *roots;
    int n_roots;
    struct annotated_image *images;
    size_t n_images;
    struct voc_split *splits;
    int n_splits;
    bool is_for_check;   /* a list that cannot be read is a diagnostic */
    bool has_every_list; /* splits are all lists, none was given */
    struct diagnostics diagnostics; /* subfolders, images without annotation */
};

/*
 * Lists folders and split files; `splits` is "train,val" or "" for all.
 * VD_NOINPUT when a folder or split file is missing.
 */
enum vd_err voc_dataset_open(struct voc_dataset *dataset, char *const *roots,
                             int n_roots, const char *splits) VD_MUST_USE;
/*
 * The same for a check: with "", every list of ImageSets/Main is read, but
 * those of single classes only where there are no others; and a list that
 * cannot be read is a diagnostic.
 */
enum vd_err voc_dataset_open_for_check(struct voc_dataset *dataset,
                                       char *const *roots, int n_roots,
                                       const char *splits) VD_MUST_USE;
/* Images to which no annotation belongs become diagnostics of the dataset;
 * after voc_dataset_read() of all annotations. */
void voc_dataset_find_unannotated(struct voc_dataset *dataset);
/*
 * Reads the annotations of all images, or only of those in a split, and
 * looks for their image files. What is wrong with single files goes to the
 * image's diagnostics.
 */
enum vd_err voc_dataset_read(struct voc_dataset *dataset, bool only_in_split,
                             int n_threads) VD_MUST_USE;
void voc_dataset_close(struct voc_dataset *dataset);

/* ROOT/ImageSets/Main/NAME.txt. Owned. */
char *voc_split_path(const struct voc_root *root, const char *name);

/* "LABEL/Annotations/a.xml" for a path below one of the roots: the name of a
 * file that is the same wherever the data lies. Owned. */
char *voc_dataset_relative_path(const struct voc_dataset *dataset,
                                const char *path);

#endif
