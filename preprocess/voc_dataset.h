/*
 * The annotated images of one or more VOC folders:
 *
 *     ROOT/Annotations/STEM.xml        (or annotations/; .XML as well)
 *     ROOT/JPEGImages/STEM.jpg         (or images/)
 *     ROOT/ImageSets/Main/SPLIT.txt
 *
 * or, without the first two folders, ROOT/STEM.xml and ROOT/STEM.jpg side by
 * side. Subfolders are not read; those with annotations are diagnostics.
 *
 * The image of an annotation has the same stem and the extension .jpg, .jpeg or
 * .png in any case. If there are several, the annotation's <filename> selects
 * one; if there is none, <filename> names the image. Only the part of
 * <filename> after the last slash or backslash is used. Names from inside a
 * file are only searched in the folder's listing, so they cannot refer to files
 * outside the folder.
 *
 * Split files have one image per line (name_list.h). A repeated name counts
 * once, and lines marked -1 are excluded.
 *
 * The id of an image is its stem. If several roots have the stem (in any
 * split), the id is prefixed with the label of the root: "VOC2007-000005".
 * Roots of the same name get the labels "NAME", "NAME-2". It is an error if two
 * images get the same id.
 *
 * Order: roots as given; within a root the order of the split file, or without
 * splits the file names sorted by bytes. All calls are Local.
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
    struct annotation annotation;   /* owned; valid only if `readable` */
    struct diagnostics diagnostics; /* of its annotation and image file */
    bool in_split;                  /* in one of the splits */
    bool readable;                  /* set by voc_dataset_read */
    int root;                       /* into dataset.roots */
};

struct voc_root {
    char *path, *label;               /* owned */
    char *annotation_dir, *image_dir; /* folders, owned */
    struct file_list image_files;     /* names in `image_dir` */
    size_t first, n;                  /* its range of dataset.images */
    size_t *by_stem;                  /* [n], owned: the range by stem */
};

struct voc_split {
    char *name;      /* owned; "" for "every annotated image" */
    size_t *members; /* owned; into dataset.images */
    int *lines;      /* [n], owned: line in the split file; 0 without one */
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
    bool is_for_check;   /* an unreadable list is a diagnostic, not an error */
    bool has_every_list; /* the splits are all lists; the user named none */
    struct diagnostics diagnostics; /* subfolders, images without annotation */
};

/*
 * Lists folders and reads split files. `splits` is "train,val"; "" makes one
 * split of all images. VD_NOINPUT if a folder or split file is missing.
 */
enum vd_err voc_dataset_open(struct voc_dataset *dataset, char *const *roots,
                             int n_roots, const char *splits) VD_MUST_USE;
/*
 * The same for a check. With "", it reads every list of ImageSets/Main; lists
 * of single classes (NAME_train and so on) only if there are no others. A list
 * that cannot be read is a diagnostic.
 */
enum vd_err voc_dataset_open_for_check(struct voc_dataset *dataset,
                                       char *const *roots, int n_roots,
                                       const char *splits) VD_MUST_USE;
/* Adds a diagnostic to the dataset for each image file without annotation. Call
 * it after voc_dataset_read() of all annotations. */
void voc_dataset_find_unannotated(struct voc_dataset *dataset);
/*
 * Reads the annotations of all images, or only of those in a split, and finds
 * their image files. Problems of single files are diagnostics of the image.
 */
enum vd_err voc_dataset_read(struct voc_dataset *dataset, bool only_in_split,
                             int n_threads) VD_MUST_USE;
/* May be a zeroed one. */
void voc_dataset_close(struct voc_dataset *dataset);

/* ROOT/ImageSets/Main/NAME.txt; the caller frees it. */
char *voc_split_path(const struct voc_root *root, const char *name);

/* "LABEL/Annotations/a.xml" for a path below one of the roots: a name that does
 * not depend on the location of the data. The caller frees it. */
char *voc_dataset_relative_path(const struct voc_dataset *dataset,
                                const char *path);

#endif
