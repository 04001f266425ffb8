#include "preprocess/tree.h"

#include "base/mem.h"
#include "base/text.h"
#include "data/shard.h"
#include "preprocess/tree_internal.h"
#include "preprocess/workers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DEPTH 8 /* of subfolders whose files are counted */

/* ---- names in listings ---- */

/* Index of the first name >= key. */
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

static size_t rank_of_extension(const char *extension)
{
    size_t k = 0;
    while (k < N_EXTENSIONS && strcasecmp(extension, extensions[k]))
        k++;
    return k;
}

/* The images of one stem: how many, the best by its extension, and the one
 * that is called `name`, or NULL. Names are borrowed. */
struct stem_images {
    size_t n;
    const char *best, *named;
};

/* jpg before jpeg before png. */
static struct stem_images find_stem(const struct file_list *images,
                                    const char *stem, const char *name)
{
    struct stem_images found = {0};
    size_t best_rank = N_EXTENSIONS, n = strlen(stem);
    char *prefix = mem_format("%s.", stem);
    for (size_t i = lower_bound(images, prefix);
         i < images->n && !strncmp(images->names[i], prefix, n + 1); i++) {
        const char *image = images->names[i];
        size_t rank = rank_of_extension(image + n + 1);
        found.n += rank < N_EXTENSIONS;
        if (rank < N_EXTENSIONS && !strcmp(image, name))
            found.named = image;
        if (rank < best_rank) {
            best_rank = rank;
            found.best = image;
        }
    }
    free(prefix);
    return found;
}

/* What stands behind the last slash or backslash. */
static const char *last_part(const char *path)
{
    const char *part = path;
    for (const char *c = path; *c; c++)
        if (*c == '/' || *c == '\\')
            part = c + 1;
    return part;
}

/* The image of this name, with or without its extension. */
static const char *find_name(const struct file_list *images, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t i = lower_bound(images, name);
    if (dot && rank_of_extension(dot + 1) < N_EXTENSIONS && i < images->n &&
        !strcmp(images->names[i], name))
        return images->names[i];
    return *name ? find_stem(images, name, "").best : NULL;
}

static bool is_xml(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcasecmp(name + n - 4, ".xml");
}

/* ---- roots ---- */

/* ROOT/a or ROOT/b, whichever is a folder; NULL when neither. Owned. */
static char *find_folder(const char *root, const char *a, const char *b)
{
    const char *const names[] = {a, b};
    for (int k = 0; k < 2; k++) {
        char *path = mem_format("%s/%s", root, names[k]);
        if (file_is_folder(path))
            return path;
        free(path);
    }
    return NULL;
}

/* Names the root, and refuses the same folder given twice. */
static enum vd_err label_root(struct tree *tree, int index)
{
    struct tree_root *root = &tree->roots[index];
    enum vd_err err = VD_OK;
    int same = 0;
    char *real = realpath(root->path, NULL);
    VD_ASSERT(real);
    for (int k = 0; k < index && err == VD_OK; k++) {
        char *other = realpath(tree->roots[k].path, NULL);
        VD_ASSERT(other);
        same += !strcmp(file_name(other), file_name(real));
        if (!strcmp(other, real))
            err = VD_FAIL(VD_USAGE, "%s and %s are the same folder",
                          tree->roots[k].path, root->path);
        free(other);
    }
    root->label = same ? mem_format("%s-%d", file_name(real), same + 1)
                       : mem_copy_text(file_name(real));
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

static enum vd_err open_root(struct tree *tree, int index, const char *path)
{
    struct tree_root *root = &tree->roots[index];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    root->path = mem_format("%.*s", (int)n, path);
    if (!file_is_folder(path))
        return VD_FAIL(VD_NOINPUT,
                       "%s: no such folder\ngive a folder that holds "
                       "Annotations and JPEGImages",
                       path);
    root->annotations = find_folder(root->path, "Annotations", "annotations");
    root->pictures = find_folder(root->path, "JPEGImages", "images");
    if (!root->annotations && !root->pictures && has_annotation(root->path)) {
        root->annotations = mem_copy_text(root->path);
        root->pictures = mem_copy_text(root->path);
    }
    if (!root->annotations || !root->pictures)
        return VD_FAIL(VD_NOINPUT,
                       "%s: no folder %s in it\ngive a folder that holds "
                       "Annotations and JPEGImages, such as VOCdevkit/VOC2007, "
                       "or the .xml files beside their images",
                       path, root->annotations ? "JPEGImages" : "Annotations");
    VD_TRY(file_list_read(&root->images, root->pictures));
    return label_root(tree, index);
}

static int by_stem(const void *a, const void *b, void *pictures)
{
    const struct picture *p = pictures;
    return strcmp(p[*(const size_t *)a].stem, p[*(const size_t *)b].stem);
}

static void sort_stems(const struct tree *tree, struct tree_root *root)
{
    root->by_stem = mem_new(root->n, sizeof *root->by_stem);
    for (size_t i = 0; i < root->n; i++)
        root->by_stem[i] = root->first + i;
    qsort_r(root->by_stem, root->n, sizeof *root->by_stem, by_stem,
            tree->pictures);
}

/* .xml files in a folder and below. */
static size_t count_annotations(const char *folder, int depth)
{
    struct file_list list = {0};
    size_t n = 0;
    if (depth > MAX_DEPTH || !file_is_folder(folder) ||
        file_list_read(&list, folder) != VD_OK)
        return 0;
    for (size_t i = 0; i < list.n; i++) {
        char *path = mem_format("%s/%s", folder, list.names[i]);
        n += file_is_folder(path) ? count_annotations(path, depth + 1)
                                  : is_xml(list.names[i]);
        free(path);
    }
    file_list_clear(&list);
    return n;
}

/* Annotations that are there and not read: how many. */
static size_t find_subfolders(struct tree *tree, const struct tree_root *root,
                              const struct file_list *names)
{
    size_t total = 0;
    for (size_t i = 0; i < names->n; i++) {
        if (is_xml(names->names[i]))
            continue;
        char *path = mem_format("%s/%s", root->annotations, names->names[i]);
        size_t n = count_annotations(path, 0);
        if (n)
            findings_add(&tree->findings, FINDING_SUBFOLDER, path, 1,
                         "a subfolder with %zu annotations: subfolders are not "
                         "read",
                         n);
        total += n;
        free(path);
    }
    return total;
}

static enum vd_err fail_no_annotation(const struct tree_root *root,
                                      size_t n_below)
{
    if (n_below)
        return VD_FAIL(VD_NOINPUT,
                       "%s: no .xml file in it, but %zu in its subfolders, "
                       "which are not read\nmove annotations and images into "
                       "one folder each, under names of their own",
                       root->annotations, n_below);
    return VD_FAIL(VD_NOINPUT, "%s: no .xml file in it", root->annotations);
}

static void add_picture(struct tree *tree, int index, const char *name)
{
    struct tree_root *root = &tree->roots[index];
    char *stem = mem_format("%.*s", (int)strlen(name) - 4, name);
    tree->pictures[tree->n_pictures++] = (struct picture){
        .id = mem_copy_text(stem),
        .stem = stem,
        .xml = mem_format("%s/%s", root->annotations, name),
        .root = index,
    };
}

static enum vd_err list_annotations(struct tree *tree, int index)
{
    struct tree_root *root = &tree->roots[index];
    struct file_list names = {0};
    VD_TRY(file_list_read(&names, root->annotations));
    root->first = tree->n_pictures;
    tree->pictures = mem_grow(tree->pictures, tree->n_pictures + names.n,
                              sizeof *tree->pictures);
    for (size_t i = 0; i < names.n; i++)
        if (is_xml(names.names[i]))
            add_picture(tree, index, names.names[i]);
    root->n = tree->n_pictures - root->first;
    sort_stems(tree, root);
    size_t n_below = find_subfolders(tree, root, &names);
    file_list_clear(&names);
    return root->n ? VD_OK : fail_no_annotation(root, n_below);
}

/* ---- ids ---- */

static int by_id(const void *a, const void *b)
{
    const struct picture *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* What a shard's /id can hold. */
static enum vd_err check_id(const struct picture *p)
{
    for (const char *c = p->id; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return VD_FAIL(VD_DATA,
                           "%s: a control character in its name\nrename it",
                           p->xml);
    if (strlen(p->id) > SHARD_MAX_ID)
        return VD_FAIL(VD_DATA,
                       "%s: its id %s is longer than %d bytes\nrename it, or "
                       "its root folder",
                       p->xml, p->id, SHARD_MAX_ID);
    return VD_OK;
}

/* All pictures in order of their ids; the array is owned. */
static struct picture **sort_by_id(const struct tree *tree)
{
    struct picture **sorted = mem_new(tree->n_pictures, sizeof *sorted);
    for (size_t i = 0; i < tree->n_pictures; i++)
        sorted[i] = &tree->pictures[i];
    qsort(sorted, tree->n_pictures, sizeof *sorted, by_id);
    return sorted;
}

/* Puts the root's name before every stem that more than one root has. */
static void prefix_clashes(struct tree *tree)
{
    size_t n = tree->n_pictures;
    struct picture **sorted = sort_by_id(tree);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1;
             end < n && !strcmp(sorted[first]->id, sorted[end]->id);)
            end++;
        for (size_t i = first; end - first > 1 && i < end; i++) {
            char *stem = sorted[i]->id;
            sorted[i]->id =
                mem_format("%s-%s", tree->roots[sorted[i]->root].label, stem);
            free(stem);
        }
    }
    free(sorted);
}

static enum vd_err make_ids_unique(struct tree *tree)
{
    enum vd_err err = VD_OK;
    prefix_clashes(tree);
    struct picture **sorted = sort_by_id(tree);
    for (size_t i = 0; i < tree->n_pictures && err == VD_OK; i++) {
        err = check_id(sorted[i]);
        if (err == VD_OK && i > 0 && !strcmp(sorted[i - 1]->id, sorted[i]->id))
            err = VD_FAIL(VD_DATA,
                          "%s and %s: both would get the id %s\nrename one of "
                          "them",
                          sorted[i - 1]->xml, sorted[i]->xml, sorted[i]->id);
    }
    free(sorted);
    return err;
}

/* ---- opening ---- */

static enum vd_err open_tree(struct tree *tree, char *const *roots, int n_roots,
                             const char *splits, bool for_check)
{
    enum vd_err err = VD_OK;
    struct tree t = {.n_roots = n_roots};
    t.roots = mem_new((size_t)n_roots, sizeof *t.roots);
    for (int k = 0; k < n_roots; k++) {
        VD_TRY_ELSE(out, err, open_root(&t, k, roots[k]));
        VD_TRY_ELSE(out, err, list_annotations(&t, k));
    }
    VD_TRY_ELSE(out, err, make_ids_unique(&t));
    err = for_check ? tree_open_check_splits(&t, splits)
                    : tree_open_splits(&t, splits);
    if (err != VD_OK)
        goto out;
    *tree = t;
    t = (struct tree){0};
out:
    tree_close(&t);
    return err;
}

enum vd_err tree_open(struct tree *tree, char *const *roots, int n_roots,
                      const char *splits)
{
    return open_tree(tree, roots, n_roots, splits, false);
}

enum vd_err tree_open_for_check(struct tree *tree, char *const *roots,
                                int n_roots, const char *splits)
{
    return open_tree(tree, roots, n_roots, splits, true);
}

/* ---- annotations ---- */

struct reading {
    struct tree *tree;
    bool only_picked;
};

/* The image in the listing; NULL: none. */
static const char *choose_image(const struct tree_root *root, struct picture *p,
                                const char *stem)
{
    const char *filename = last_part(p->note.filename);
    struct stem_images found = find_stem(&root->images, stem, filename);
    if (found.n == 0)
        return find_name(&root->images, filename);
    if (found.named)
        return found.named;
    if (found.n > 1)
        findings_add(&p->findings, FINDING_AMBIGUOUS, p->xml, 1,
                     "%zu images are called \"%s\", and <filename> \"%.80s\" "
                     "names none of them; %s is used",
                     found.n, stem, p->note.filename, found.best);
    return found.best;
}

static void find_image(const struct tree_root *root, struct picture *p)
{
    const char *name = choose_image(root, p, p->stem);
    if (name)
        p->path = mem_format("%s/%s", root->pictures, name);
    else
        findings_add(&p->findings, FINDING_MISSING, p->xml, 1,
                     "no picture %s/%s.jpg, .jpeg or .png, and none named "
                     "\"%.80s\" as <filename> says",
                     file_name(root->pictures), p->stem, p->note.filename);
}

static void read_one(void *ctx, size_t item, size_t slot)
{
    struct reading *r = ctx;
    struct picture *p = &r->tree->pictures[item];
    (void)slot;
    if (r->only_picked && !p->picked)
        return;
    struct findings_catch c = {
        .to = &p->findings, .kind = FINDING_ANNOTATION, .file = p->xml};
    findings_catch_start(&c);
    p->readable = annotation_read(&p->note, p->xml, &p->findings) == VD_OK;
    findings_catch_end(&c);
    if (p->readable)
        find_image(&r->tree->roots[p->root], p);
}

enum vd_err tree_read(struct tree *tree, bool only_picked, int n_threads)
{
    struct reading r = {tree, only_picked};
    return workers_run(&(struct workers){
        .n_threads = n_threads,
        .n_items = tree->n_pictures,
        .n_slots = tree->n_pictures,
        .produce = read_one,
        .ctx = &r,
    });
}

/* Which of the root's images does an annotation have? Owned. */
static bool *mark_used(const struct tree *tree, const struct tree_root *root)
{
    bool *used = mem_new(root->images.n, sizeof *used);
    for (size_t i = root->first; i < root->first + root->n; i++) {
        const struct picture *p = &tree->pictures[i];
        const char *name = p->path ? file_name(p->path)
                                   : find_stem(&root->images, p->stem, "").best;
        if (name)
            used[lower_bound(&root->images, name)] = true;
    }
    return used;
}

void tree_find_unannotated(struct tree *tree)
{
    for (int k = 0; k < tree->n_roots; k++) {
        const struct tree_root *root = &tree->roots[k];
        bool *used = mark_used(tree, root);
        for (size_t i = 0; i < root->images.n; i++) {
            const char *name = root->images.names[i];
            const char *dot = strrchr(name, '.');
            if (used[i] || !dot || *name == '.' ||
                rank_of_extension(dot + 1) == N_EXTENSIONS)
                continue;
            char *path = mem_format("%s/%s", root->pictures, name);
            findings_add(&tree->findings, FINDING_UNANNOTATED, path, 1,
                         "an image without annotation %s/%.*s.xml; it is not "
                         "used",
                         file_name(root->annotations), (int)(dot - name), name);
            free(path);
        }
        free(used);
    }
}

char *tree_relative(const struct tree *tree, const char *path)
{
    for (int k = 0; k < tree->n_roots; k++) {
        const struct tree_root *root = &tree->roots[k];
        size_t n = strlen(root->path);
        if (!strncmp(path, root->path, n) && path[n] == '/')
            return mem_format("%s%s", root->label, path + n);
    }
    return mem_copy_text(file_name(path));
}

void tree_close(struct tree *tree)
{
    for (int k = 0; k < tree->n_roots; k++) {
        struct tree_root *root = &tree->roots[k];
        file_list_clear(&root->images);
        free(root->path);
        free(root->by_stem);
        free(root->label);
        free(root->annotations);
        free(root->pictures);
    }
    for (size_t i = 0; i < tree->n_pictures; i++) {
        struct picture *p = &tree->pictures[i];
        annotation_clear(&p->note);
        findings_clear(&p->findings);
        free(p->id);
        free(p->stem);
        free(p->xml);
        free(p->path);
    }
    for (int k = 0; k < tree->n_splits; k++) {
        findings_clear(&tree->splits[k].findings);
        free(tree->splits[k].name);
        free(tree->splits[k].members);
        free(tree->splits[k].lines);
    }
    findings_clear(&tree->findings);
    free(tree->roots);
    free(tree->pictures);
    free(tree->splits);
    *tree = (struct tree){0};
}
