/*
 * The annotated pictures of one or more VOC folders:
 *
 *     ROOT/Annotations/STEM.xml        (or annotations/; .XML as well)
 *     ROOT/JPEGImages/STEM.jpg         (or images/)
 *     ROOT/ImageSets/Main/SPLIT.txt
 *
 * or, without these two folders, ROOT/STEM.xml and ROOT/STEM.jpg side by side.
 * Subfolders are not read; those with annotations are findings.
 *
 * A picture belongs to an annotation by its stem with .jpg, .jpeg or .png in
 * any case; of several, the annotation's <filename> decides. Without any, it
 * is the one that <filename> names. Of that, the part behind the last slash or
 * backslash counts. Names that come from inside a file are only ever looked up
 * in the folder's listing, so none can lead out of it.
 *
 * Split files have one picture a line (name_list.h); of repeated names the
 * first counts, and lines marked -1 are left out.
 *
 * The id of a picture is its stem. A stem that several roots have (whatever
 * the split) gets the name of its root in front, "VOC2007-000005"; roots of
 * the same name are told apart as "NAME", "NAME-2". Should such an id be a
 * stem as well, that is an error.
 *
 * Order: roots as given; in each, the split file's order, or without splits
 * the stems sorted by bytes. All calls are Local.
 */
#ifndef VOCDIST_PREPROCESS_TREE_H
#define VOCDIST_PREPROCESS_TREE_H

#include "base/err.h"
#include "base/file.h"
#include "preprocess/annotation.h"
#include "preprocess/findings.h"

#include <stdbool.h>
#include <stddef.h>

struct picture {
    char *id, *xml, *path;    /* owned; path is NULL when missing */
    char *stem;               /* owned: the file's name without ".xml" */
    struct annotation note;   /* owned; of use only if `readable` */
    struct findings findings; /* of its annotation and image file */
    bool picked;              /* in one of the splits */
    bool readable;            /* after tree_read */
    int root;
};

struct tree_root {
    char *path, *label;           /* owned */
    char *annotations, *pictures; /* folders, owned */
    struct file_list images;      /* names in `pictures` */
    size_t first, n;              /* its pictures, sorted by file name */
    size_t *by_stem;              /* [n], the same sorted by stem; owned */
};

struct tree_split {
    char *name;      /* owned; "" for "every annotated picture" */
    size_t *members; /* owned; into tree.pictures */
    int *lines;      /* [n], owned: in the split file; 0 without one */
    size_t n;
    size_t n_excluded;        /* lines marked -1 */
    struct findings findings; /* of its lines */
};

struct tree {
    struct tree_root *roots;
    int n_roots;
    struct picture *pictures;
    size_t n_pictures;
    struct tree_split *splits;
    int n_splits;
    bool is_for_check;        /* a list that cannot be read is a finding */
    bool has_every_list;      /* splits are all lists, none was given */
    struct findings findings; /* subfolders, images without annotation */
};

/*
 * Lists folders and split files; `splits` is "train,val" or "" for all.
 * VD_NOINPUT when a folder or split file is missing.
 */
enum vd_err tree_open(struct tree *tree, char *const *roots, int n_roots,
                      const char *splits) VD_MUST_USE;
/*
 * The same for a check: with "", every list of ImageSets/Main is read, but
 * those of single classes only where there are no others; and a list that
 * cannot be read is a finding.
 */
enum vd_err tree_open_for_check(struct tree *tree, char *const *roots,
                                int n_roots, const char *splits) VD_MUST_USE;
/* Images to which no annotation belongs become findings of the tree; after
 * tree_read() of all annotations. */
void tree_find_unannotated(struct tree *tree);
/*
 * Reads the annotations of all pictures, or only of those in a split, and
 * looks for their image files. What is wrong with single files goes to the
 * picture's findings.
 */
enum vd_err tree_read(struct tree *tree, bool only_picked,
                      int n_threads) VD_MUST_USE;
void tree_close(struct tree *tree);

/* ROOT/ImageSets/Main/NAME.txt. Owned. */
char *tree_list_path(const struct tree_root *root, const char *name);

/* "LABEL/Annotations/a.xml" for a path below one of the roots: the name of a
 * file that is the same wherever the data lies. Owned. */
char *tree_relative(const struct tree *tree, const char *path);

#endif
