/*
 * Opens a dataset: lists its images (voc_dataset.c), then reads its splits: the
 * lists of ImageSets/Main, or one split of all images.
 *
 * Each line of a list is matched to an image by a binary search over the root's
 * stems (name_match() tries the candidates). A split contains the lists of the
 * same name of all roots, in the order of the roots. The first line that names
 * an image counts; `first` in add_split_lines() has its number.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "base/text.h"
#include "preprocess/name_list.h"
#include "preprocess/voc_dataset_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LIST_BYTES    ((size_t)256 << 20)
#define MAX_LISTED_SPLITS 40

/* ---- members ---- */

struct stem_lookup {
    const struct voc_dataset *dataset;
    const struct voc_root *root;
};

/* A name_find_fn: the root's image with this stem. */
static size_t find_stem_index(void *ctx, const char *stem)
{
    const struct stem_lookup *l = ctx;
    size_t low = 0, high = l->root->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t index = l->root->by_stem[middle];
        int order = strcmp(l->dataset->images[index].stem, stem);
        if (order == 0)
            return index;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NAME_NONE;
}

static void add_member(struct voc_dataset *dataset, struct voc_split *split,
                       size_t i, int line)
{
    if ((split->n & (split->n - 1)) == 0) {
        size_t room = split->n ? 2 * split->n : 1;
        split->members =
            xreallocarray(split->members, room, sizeof *split->members);
        split->lines = xreallocarray(split->lines, room, sizeof *split->lines);
    }
    split->lines[split->n] = line;
    split->members[split->n++] = i;
    dataset->images[i].in_split = true;
}

static void add_split_lines(struct voc_dataset *dataset,
                            const struct voc_root *root,
                            struct voc_split *split, const char *path,
                            const struct name_list *list)
{
    struct stem_lookup lookup = {dataset, root};
    int *first =
        xcalloc(root->n, sizeof *first); /* line of an image; 0: none */
    size_t n_excluded = 0;
    for (size_t k = 0; k < list->n; k++) {
        const struct name_line *line = &list->lines[k];
        struct name_match m = name_match(line->text, find_stem_index, &lookup);
        if (m.is_excluded)
            n_excluded++;
        else if (m.index == NAME_NONE)
            diagnostics_add(
                &split->diagnostics, DIAGNOSTIC_ANNOTATION, path, line->number,
                "\"%.80s\" has no annotation %s/%.80s.xml", line->text,
                file_basename(root->annotation_dir), line->text);
        else if (first[m.index - root->first])
            diagnostics_add(&split->diagnostics, DIAGNOSTIC_REPEATED_LINE, path,
                            line->number,
                            "\"%.80s\" is already in line %d of this list; it "
                            "counts once",
                            line->text, first[m.index - root->first]);
        else {
            first[m.index - root->first] = line->number;
            add_member(dataset, split, m.index, line->number);
        }
    }
    if (n_excluded)
        log_info("%s: %zu of %zu lines are marked -1 (without the class) and "
                 "left out",
                 path, n_excluded, list->n);
    split->n_excluded += n_excluded;
    free(first);
}

/* ---- lists ---- */

/* NAME_train, NAME_val and so on: the images with a class, and without it. */
static bool is_class_list(const char *name)
{
    static const char *const parts[] = {"train", "val", "trainval", "test"};
    const char *end = strrchr(name, '_');
    for (size_t k = 0; end && k < sizeof parts / sizeof *parts; k++)
        if (!strcmp(end + 1, parts[k]))
            return true;
    return false;
}

/* Appends the names of the lists in ImageSets/Main without ".txt": only the
 * lists of classes, or only the others. */
static void list_splits(const struct voc_root *root, bool of_classes,
                        struct file_list *out)
{
    char *folder = xasprintf("%s/ImageSets/Main", root->path);
    struct file_list files = {0};
    if (file_is_folder(folder) && file_list_read(&files, folder) == VD_OK)
        for (size_t i = 0; i < files.n; i++) {
            char *name = files.names[i];
            size_t n = strlen(name);
            if (n <= 4 || *name == '.' || strcmp(name + n - 4, ".txt"))
                continue;
            name[n - 4] = '\0';
            if (is_class_list(name) != of_classes)
                continue;
            out->names =
                xreallocarray(out->names, out->n + 1, sizeof *out->names);
            out->names[out->n++] = xstrdup(name);
        }
    file_list_clear(&files);
    free(folder);
}

static enum vd_err fail_no_split(const struct voc_root *root, const char *name,
                                 const char *path)
{
    struct file_list list = {0};
    struct text known = {0};
    list_splits(root, false, &list);
    if (list.n == 0)
        list_splits(root, true, &list);
    if (list.n == 0)
        text_add(&known,
                 "create the lists, one NAME per line (README, \"Your own "
                 "data\", shows how); without --split all images become one "
                 "data set");
    for (size_t i = 0; i < list.n && i < MAX_LISTED_SPLITS; i++)
        text_add(&known, "%s%s", i ? ", " : "available: ", list.names[i]);
    if (list.n > MAX_LISTED_SPLITS)
        text_add(&known, " and %zu more", list.n - MAX_LISTED_SPLITS);
    enum vd_err err = VD_FAIL(VD_NOINPUT, "%s: there is no split \"%s\"\n%s",
                              path, name, known.bytes);
    file_list_clear(&list);
    free(known.bytes);
    return err;
}

char *voc_split_path(const struct voc_root *root, const char *name)
{
    return xasprintf("%s/ImageSets/Main/%s.txt", root->path, name);
}

/* For a check, a list that cannot be read is a diagnostic and empty. */
static enum vd_err read_split_list(const struct voc_dataset *dataset,
                                   struct voc_split *split, const char *path,
                                   struct name_list *list)
{
    if (!dataset->is_for_check)
        return name_list_read(list, path, MAX_LIST_BYTES);
    struct diagnostics_capture c = {
        .to = &split->diagnostics, .kind = DIAGNOSTIC_LIST, .file = path};
    diagnostics_capture_start(&c);
    if (name_list_read(list, path, MAX_LIST_BYTES) != VD_OK)
        *list = (struct name_list){0};
    diagnostics_capture_end(&c);
    return VD_OK;
}

static enum vd_err read_split(struct voc_dataset *dataset,
                              const struct voc_root *root,
                              struct voc_split *split)
{
    struct name_list list = {0};
    char *path = voc_split_path(root, split->name);
    enum vd_err err = read_split_list(dataset, split, path, &list);
    if (err == VD_OK)
        add_split_lines(dataset, root, split, path, &list);
    name_list_clear(&list);
    free(path);
    return err;
}

static struct voc_split *find_split(struct voc_dataset *dataset,
                                    const char *name)
{
    for (int k = 0; k < dataset->n_splits; k++)
        if (!strcmp(dataset->splits[k].name, name))
            return &dataset->splits[k];
    return NULL;
}

static struct voc_split *new_split(struct voc_dataset *dataset,
                                   const char *name)
{
    dataset->splits =
        xreallocarray(dataset->splits, (size_t)dataset->n_splits + 1,
                      sizeof *dataset->splits);
    struct voc_split *split = &dataset->splits[dataset->n_splits++];
    *split = (struct voc_split){.name = xstrdup(name)};
    return split;
}

static enum vd_err check_split_exists(const struct voc_root *root,
                                      const char *name)
{
    char *path = voc_split_path(root, name);
    enum vd_err err =
        file_exists(path) ? VD_OK : fail_no_split(root, name, path);
    free(path);
    return err;
}

static enum vd_err add_split(struct voc_dataset *dataset, const char *name)
{
    if (find_split(dataset, name))
        return VD_FAIL(
            VD_USAGE, "--split names \"%s\" twice\nname each split once", name);
    if (!*name || strchr(name, '/') || *name == '.')
        return VD_FAIL(VD_USAGE,
                       "--split: \"%s\" is not the name of a split\ngive names "
                       "of files in ImageSets/Main without .txt, such as "
                       "train,val",
                       name);
    struct voc_split *split = new_split(dataset, name);
    for (int k = 0; k < dataset->n_roots; k++) {
        VD_TRY(check_split_exists(&dataset->roots[k], name));
        VD_TRY(read_split(dataset, &dataset->roots[k], split));
    }
    return VD_OK;
}

static void add_split_of_all(struct voc_dataset *dataset)
{
    struct voc_split *whole = new_split(dataset, "");
    for (size_t i = 0; i < dataset->n_images; i++)
        add_member(dataset, whole, i, 0);
}

static enum vd_err open_splits(struct voc_dataset *dataset, const char *splits)
{
    enum vd_err err = VD_OK;
    if (!*splits) {
        add_split_of_all(dataset);
        return VD_OK;
    }
    char *copy = xstrdup(splits);
    for (char *rest = copy, *name; err == VD_OK && (name = strsep(&rest, ","));)
        err = add_split(dataset, text_trim(name));
    free(copy);
    return err;
}

static enum vd_err add_all_splits(struct voc_dataset *dataset, bool of_classes)
{
    enum vd_err err = VD_OK;
    for (int k = 0; err == VD_OK && k < dataset->n_roots; k++) {
        struct file_list list = {0};
        list_splits(&dataset->roots[k], of_classes, &list);
        for (size_t i = 0; err == VD_OK && i < list.n; i++) {
            struct voc_split *split = find_split(dataset, list.names[i]);
            if (!split)
                split = new_split(dataset, list.names[i]);
            err = read_split(dataset, &dataset->roots[k], split);
        }
        file_list_clear(&list);
    }
    return err;
}

static enum vd_err open_check_splits(struct voc_dataset *dataset,
                                     const char *splits)
{
    dataset->is_for_check = true;
    if (*splits)
        return open_splits(dataset, splits);
    dataset->has_every_list = true;
    VD_TRY(add_all_splits(dataset, false));
    if (dataset->n_splits == 0)
        VD_TRY(add_all_splits(dataset, true));
    if (dataset->n_splits == 0)
        add_split_of_all(dataset);
    return VD_OK;
}

/* ---- opening ---- */

static enum vd_err open_voc_dataset(struct voc_dataset *dataset,
                                    char *const *roots, int n_roots,
                                    const char *splits, bool for_check)
{
    enum vd_err err = VD_OK;
    struct voc_dataset opened = {0};
    VD_TRY_GOTO(out, err, voc_dataset_list_images(&opened, roots, n_roots));
    err = for_check ? open_check_splits(&opened, splits)
                    : open_splits(&opened, splits);
    if (err != VD_OK)
        goto out;
    *dataset = opened;
    opened = (struct voc_dataset){0};
out:
    voc_dataset_close(&opened);
    return err;
}

enum vd_err voc_dataset_open(struct voc_dataset *dataset, char *const *roots,
                             int n_roots, const char *splits)
{
    return open_voc_dataset(dataset, roots, n_roots, splits, false);
}

enum vd_err voc_dataset_open_for_check(struct voc_dataset *dataset,
                                       char *const *roots, int n_roots,
                                       const char *splits)
{
    return open_voc_dataset(dataset, roots, n_roots, splits, true);
}
