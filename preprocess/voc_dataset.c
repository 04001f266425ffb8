/*
 * The annotated images of VOC folders. voc_dataset_open() in
 * voc_dataset_splits.c lists them by steps 1 to 3, then reads the splits:
 *
 *   1. open_root(): finds the folders and lists the image files
 *   2. list_annotations(): one annotated_image per .xml file
 *   3. make_ids_unique(): prefixes stems that several roots have with the label
 *   4. voc_dataset_read(): reads the annotations in parallel, each into its own
 *      annotated_image, and finds the image files
 *
 * Listings are sorted by bytes, so all searches in them are binary searches.
 */
#include "preprocess/voc_dataset.h"

#include "base/alloc.h"
#include "base/text.h"
#include "data/shard.h"
#include "preprocess/voc_dataset_internal.h"
#include "preprocess/workers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DEPTH 8 /* of subfolders whose annotations are counted */

/* ---- names in listings ---- */

/* Index of the first name >= key; list->n if there is none. */
static size_t lower_bound(const struct file_list *list, const char *key)
{
    size_t low = 0, high = list->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(list->names[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const char *const extensions[] = {"jpg", "jpeg", "png"};
#define N_EXTENSIONS (sizeof extensions / sizeof *extensions)

/* 0 is the highest; N_EXTENSIONS: not an image. */
static size_t extension_priority(const char *extension)
{
    size_t k = 0;
    while (k < N_EXTENSIONS && strcasecmp(extension, extensions[k]))
        k++;
    return k;
}

/* The images of one stem: their number, the one with the highest extension
 * priority, and the one with a given name. Borrowed; NULL if there is none. */
struct stem_images {
    size_t n;
    const char *best, *named;
};

static struct stem_images find_images_of_stem(const struct file_list *images,
                                              const char *stem,
                                              const char *name)
{
    struct stem_images found = {0};
    size_t best_priority = N_EXTENSIONS, n = strlen(stem);
    char *prefix = xasprintf("%s.", stem);
    for (size_t i = lower_bound(images, prefix);
         i < images->n && !strncmp(images->names[i], prefix, n + 1); i++) {
        const char *image = images->names[i];
        size_t priority = extension_priority(image + n + 1);
        found.n += priority < N_EXTENSIONS;
        if (priority < N_EXTENSIONS && !strcmp(image, name))
            found.named = image;
        if (priority < best_priority) {
            best_priority = priority;
            found.best = image;
        }
    }
    free(prefix);
    return found;
}

/* The part after the last slash or backslash. */
static const char *last_path_component(const char *path)
{
    const char *part = path;
    for (const char *c = path; *c; c++)
        if (*c == '/' || *c == '\\')
            part = c + 1;
    return part;
}

/* The image with this name or, if there is none, with this stem; or NULL. */
static const char *find_image_by_name(const struct file_list *images,
                                      const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t i = lower_bound(images, name);
    if (dot && extension_priority(dot + 1) < N_EXTENSIONS && i < images->n &&
        !strcmp(images->names[i], name))
        return images->names[i];
    return *name ? find_images_of_stem(images, name, "").best : NULL;
}

static bool is_xml(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcasecmp(name + n - 4, ".xml");
}

/* ---- roots ---- */

/* ROOT/a or ROOT/b, whichever is a folder; NULL if neither is. Owned. */
static char *find_folder(const char *root, const char *a, const char *b)
{
    const char *const names[] = {a, b};
    for (int k = 0; k < 2; k++) {
        char *path = xasprintf("%s/%s", root, names[k]);
        if (file_is_folder(path))
            return path;
        free(path);
    }
    return NULL;
}

/* Sets the root's label; an error if two roots are the same folder. */
static enum vd_err label_root(struct voc_dataset *dataset, int index)
{
    struct voc_root *root = &dataset->roots[index];
    enum vd_err err = VD_OK;
    int same = 0;
    char *real = realpath(root->path, NULL);
    VD_ASSERT(real);
    for (int k = 0; k < index && err == VD_OK; k++) {
        char *other = realpath(dataset->roots[k].path, NULL);
        VD_ASSERT(other);
        same += !strcmp(file_basename(other), file_basename(real));
        if (!strcmp(other, real))
            err =
                VD_FAIL(VD_USAGE, "%s and %s are the same folder\ngive it once",
                        dataset->roots[k].path, root->path);
        free(other);
    }
    root->label = same ? xasprintf("%s-%d", file_basename(real), same + 1)
                       : xstrdup(file_basename(real));
    free(real);
    return err;
}

static bool has_annotation(const char *folder)
{
    struct file_list list = {0};
    bool found = false;
    if (file_list_read(&list, folder) != VD_OK)
        return false;
    for (size_t i = 0; i < list.n; i++)
        found = found || is_xml(list.names[i]);
    file_list_clear(&list);
    return found;
}

static enum vd_err open_root(struct voc_dataset *dataset, int index,
                             const char *path)
{
    struct voc_root *root = &dataset->roots[index];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    root->path = xasprintf("%.*s", (int)n, path);
    if (!file_is_folder(path))
        return VD_FAIL(VD_NOINPUT,
                       "%s: no such folder\ngive a folder that contains "
                       "Annotations and JPEGImages",
                       path);
    root->annotation_dir =
        find_folder(root->path, "Annotations", "annotations");
    root->image_dir = find_folder(root->path, "JPEGImages", "images");
    if (!root->annotation_dir && !root->image_dir &&
        has_annotation(root->path)) {
        root->annotation_dir = xstrdup(root->path);
        root->image_dir = xstrdup(root->path);
    }
    if (!root->annotation_dir || !root->image_dir)
        return VD_FAIL(VD_NOINPUT,
                       "%s: no folder %s in it\ngive a folder that contains "
                       "Annotations and JPEGImages, such as VOCdevkit/VOC2007, "
                       "or the .xml files next to their images",
                       path,
                       root->annotation_dir ? "JPEGImages" : "Annotations");
    VD_TRY(file_list_read(&root->image_files, root->image_dir));
    return label_root(dataset, index);
}

static int by_stem(const void *a, const void *b, void *images)
{
    const struct annotated_image *p = images;
    return strcmp(p[*(const size_t *)a].stem, p[*(const size_t *)b].stem);
}

static void sort_stems(const struct voc_dataset *dataset, struct voc_root *root)
{
    root->by_stem = xcalloc(root->n, sizeof *root->by_stem);
    for (size_t i = 0; i < root->n; i++)
        root->by_stem[i] = root->first + i;
    qsort_r(root->by_stem, root->n, sizeof *root->by_stem, by_stem,
            dataset->images);
}

/* Number of .xml files in a folder and its subfolders. */
static size_t count_annotations(const char *folder, int depth)
{
    struct file_list list = {0};
    size_t n = 0;
    if (depth > MAX_DEPTH || !file_is_folder(folder) ||
        file_list_read(&list, folder) != VD_OK)
        return 0;
    for (size_t i = 0; i < list.n; i++) {
        char *path = xasprintf("%s/%s", folder, list.names[i]);
        n += file_is_folder(path) ? count_annotations(path, depth + 1)
                                  : is_xml(list.names[i]);
        free(path);
    }
    file_list_clear(&list);
    return n;
}

/* Adds a diagnostic for each subfolder with annotations, which are not read;
 * returns their number. */
static size_t find_subfolders(struct voc_dataset *dataset,
                              const struct voc_root *root,
                              const struct file_list *names)
{
    size_t total = 0;
    for (size_t i = 0; i < names->n; i++) {
        if (is_xml(names->names[i]))
            continue;
        char *path = xasprintf("%s/%s", root->annotation_dir, names->names[i]);
        size_t n = count_annotations(path, 0);
        if (n)
            diagnostics_add(
                &dataset->diagnostics, DIAGNOSTIC_SUBFOLDER, path, 1,
                "a subfolder with %zu annotations: subfolders are not read", n);
        total += n;
        free(path);
    }
    return total;
}

static enum vd_err fail_no_annotation(const struct voc_root *root,
                                      size_t n_in_subfolders)
{
    if (n_in_subfolders)
        return VD_FAIL(VD_NOINPUT,
                       "%s: no .xml file in it, but %zu in its subfolders, "
                       "which are not read\nmove the annotations into one "
                       "folder and the images into one folder, under unique "
                       "names",
                       root->annotation_dir, n_in_subfolders);
    return VD_FAIL(VD_NOINPUT,
                   "%s: no .xml file in it\n"
                   "give a folder that contains Annotations and JPEGImages",
                   root->annotation_dir);
}

static void add_annotated_image(struct voc_dataset *dataset, int index,
                                const char *name)
{
    struct voc_root *root = &dataset->roots[index];
    char *stem = xasprintf("%.*s", (int)strlen(name) - 4, name);
    dataset->images[dataset->n_images++] = (struct annotated_image){
        .id = xstrdup(stem),
        .stem = stem,
        .xml_path = xasprintf("%s/%s", root->annotation_dir, name),
        .root = index,
    };
}

static enum vd_err list_annotations(struct voc_dataset *dataset, int index)
{
    struct voc_root *root = &dataset->roots[index];
    struct file_list names = {0};
    VD_TRY(file_list_read(&names, root->annotation_dir));
    root->first = dataset->n_images;
    dataset->images = xreallocarray(
        dataset->images, dataset->n_images + names.n, sizeof *dataset->images);
    for (size_t i = 0; i < names.n; i++)
        if (is_xml(names.names[i]))
            add_annotated_image(dataset, index, names.names[i]);
    root->n = dataset->n_images - root->first;
    sort_stems(dataset, root);
    size_t n_in_subfolders = find_subfolders(dataset, root, &names);
    file_list_clear(&names);
    return root->n ? VD_OK : fail_no_annotation(root, n_in_subfolders);
}

/* ---- ids ---- */

static int by_id(const void *a, const void *b)
{
    const struct annotated_image *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* The id must fit a shard's /id. */
static enum vd_err check_id(const struct annotated_image *p)
{
    for (const char *c = p->id; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return VD_FAIL(VD_DATA,
                           "%s: the file name contains a control character\n"
                           "rename it",
                           p->xml_path);
    if (strlen(p->id) > SHARD_MAX_ID)
        return VD_FAIL(VD_DATA,
                       "%s: its id %s is longer than %d bytes\nrename the file "
                       "or its root folder",
                       p->xml_path, p->id, SHARD_MAX_ID);
    return VD_OK;
}

/* All images sorted by id; the array is owned. */
static struct annotated_image **sort_by_id(const struct voc_dataset *dataset)
{
    struct annotated_image **sorted =
        xcalloc(dataset->n_images, sizeof *sorted);
    for (size_t i = 0; i < dataset->n_images; i++)
        sorted[i] = &dataset->images[i];
    qsort(sorted, dataset->n_images, sizeof *sorted, by_id);
    return sorted;
}

/* Prefixes every stem that more than one root has with the root's label. */
static void prefix_clashes(struct voc_dataset *dataset)
{
    size_t n = dataset->n_images;
    struct annotated_image **sorted = sort_by_id(dataset);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1;
             end < n && !strcmp(sorted[first]->id, sorted[end]->id);)
            end++;
        for (size_t i = first; end - first > 1 && i < end; i++) {
            char *stem = sorted[i]->id;
            sorted[i]->id =
                xasprintf("%s-%s", dataset->roots[sorted[i]->root].label, stem);
            free(stem);
        }
    }
    free(sorted);
}

static enum vd_err make_ids_unique(struct voc_dataset *dataset)
{
    enum vd_err err = VD_OK;
    prefix_clashes(dataset);
    struct annotated_image **sorted = sort_by_id(dataset);
    for (size_t i = 0; i < dataset->n_images && err == VD_OK; i++) {
        err = check_id(sorted[i]);
        if (err == VD_OK && i > 0 && !strcmp(sorted[i - 1]->id, sorted[i]->id))
            err = VD_FAIL(VD_DATA,
                          "%s and %s: both would get the id %s\nrename one of "
                          "them",
                          sorted[i - 1]->xml_path, sorted[i]->xml_path,
                          sorted[i]->id);
    }
    free(sorted);
    return err;
}

enum vd_err voc_dataset_list_images(struct voc_dataset *dataset,
                                    char *const *roots, int n_roots)
{
    dataset->n_roots = n_roots;
    dataset->roots = xcalloc((size_t)n_roots, sizeof *dataset->roots);
    for (int k = 0; k < n_roots; k++) {
        VD_TRY(open_root(dataset, k, roots[k]));
        VD_TRY(list_annotations(dataset, k));
    }
    return make_ids_unique(dataset);
}

/* ---- annotations ---- */

struct read_context {
    struct voc_dataset *dataset;
    bool only_in_split;
};

/* The name of the image in the listing; NULL if there is none. */
static const char *choose_image(const struct voc_root *root,
                                struct annotated_image *p, const char *stem)
{
    const char *filename = last_path_component(p->annotation.filename);
    struct stem_images found =
        find_images_of_stem(&root->image_files, stem, filename);
    if (found.n == 0)
        return find_image_by_name(&root->image_files, filename);
    if (found.named)
        return found.named;
    if (found.n > 1)
        diagnostics_add(&p->diagnostics, DIAGNOSTIC_AMBIGUOUS, p->xml_path, 1,
                        "%zu images are named \"%s\", and <filename> \"%.80s\" "
                        "names none of them; %s is used",
                        found.n, stem, p->annotation.filename, found.best);
    return found.best;
}

static void find_image(const struct voc_root *root, struct annotated_image *p)
{
    const char *name = choose_image(root, p, p->stem);
    if (name)
        p->image_path = xasprintf("%s/%s", root->image_dir, name);
    else
        diagnostics_add(&p->diagnostics, DIAGNOSTIC_MISSING, p->xml_path, 1,
                        "no image %s/%s.jpg, .jpeg or .png, and no image with "
                        "the <filename> \"%.80s\"",
                        file_basename(root->image_dir), p->stem,
                        p->annotation.filename);
}

static void read_image_annotation(void *ctx, size_t item, size_t slot)
{
    struct read_context *r = ctx;
    struct annotated_image *p = &r->dataset->images[item];
    (void)slot;
    if (r->only_in_split && !p->in_split)
        return;
    struct diagnostics_capture c = {.to = &p->diagnostics,
                                    .kind = DIAGNOSTIC_ANNOTATION,
                                    .file = p->xml_path};
    diagnostics_capture_start(&c);
    p->readable =
        annotation_read(&p->annotation, p->xml_path, &p->diagnostics) == VD_OK;
    diagnostics_capture_end(&c);
    if (p->readable)
        find_image(&r->dataset->roots[p->root], p);
}

enum vd_err voc_dataset_read(struct voc_dataset *dataset, bool only_in_split,
                             int n_threads)
{
    struct read_context r = {dataset, only_in_split};
    return workers_run(&(struct workers){
        .n_threads = n_threads,
        .n_items = dataset->n_images,
        .n_slots = dataset->n_images,
        .produce = read_image_annotation,
        .ctx = &r,
    });
}

/* [image_files.n]: whether the file is the image of an annotation. The caller
 * frees it. */
static bool *mark_used(const struct voc_dataset *dataset,
                       const struct voc_root *root)
{
    bool *used = xcalloc(root->image_files.n, sizeof *used);
    for (size_t i = root->first; i < root->first + root->n; i++) {
        const struct annotated_image *p = &dataset->images[i];
        const char *name =
            p->image_path
                ? file_basename(p->image_path)
                : find_images_of_stem(&root->image_files, p->stem, "").best;
        if (name)
            used[lower_bound(&root->image_files, name)] = true;
    }
    return used;
}

void voc_dataset_find_unannotated(struct voc_dataset *dataset)
{
    for (int k = 0; k < dataset->n_roots; k++) {
        const struct voc_root *root = &dataset->roots[k];
        bool *used = mark_used(dataset, root);
        for (size_t i = 0; i < root->image_files.n; i++) {
            const char *name = root->image_files.names[i];
            const char *dot = strrchr(name, '.');
            if (used[i] || !dot || *name == '.' ||
                extension_priority(dot + 1) == N_EXTENSIONS)
                continue;
            char *path = xasprintf("%s/%s", root->image_dir, name);
            diagnostics_add(
                &dataset->diagnostics, DIAGNOSTIC_UNANNOTATED, path, 1,
                "an image without annotation %s/%.*s.xml; it is not used",
                file_basename(root->annotation_dir), (int)(dot - name), name);
            free(path);
        }
        free(used);
    }
}

char *voc_dataset_relative_path(const struct voc_dataset *dataset,
                                const char *path)
{
    for (int k = 0; k < dataset->n_roots; k++) {
        const struct voc_root *root = &dataset->roots[k];
        size_t n = strlen(root->path);
        if (!strncmp(path, root->path, n) && path[n] == '/')
            return xasprintf("%s%s", root->label, path + n);
    }
    return xstrdup(file_basename(path));
}

void voc_dataset_close(struct voc_dataset *dataset)
{
    for (int k = 0; k < dataset->n_roots; k++) {
        struct voc_root *root = &dataset->roots[k];
        file_list_clear(&root->image_files);
        free(root->path);
        free(root->by_stem);
        free(root->label);
        free(root->annotation_dir);
        free(root->image_dir);
    }
    for (size_t i = 0; i < dataset->n_images; i++) {
        struct annotated_image *p = &dataset->images[i];
        annotation_clear(&p->annotation);
        diagnostics_clear(&p->diagnostics);
        free(p->id);
        free(p->stem);
        free(p->xml_path);
        free(p->image_path);
    }
    for (int k = 0; k < dataset->n_splits; k++) {
        diagnostics_clear(&dataset->splits[k].diagnostics);
        free(dataset->splits[k].name);
        free(dataset->splits[k].members);
        free(dataset->splits[k].lines);
    }
    diagnostics_clear(&dataset->diagnostics);
    free(dataset->roots);
    free(dataset->images);
    free(dataset->splits);
    *dataset = (struct voc_dataset){0};
}
