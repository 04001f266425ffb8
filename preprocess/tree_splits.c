/* Splits of a tree: the lists of ImageSets/Main, or all pictures as one. */
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "preprocess/name_list.h"
#include "preprocess/tree_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LIST_BYTES ((size_t)256 << 20)
#define MAX_OFFERED    40

/* ---- members ---- */

struct lookup {
    const struct tree *tree;
    const struct tree_root *root;
};

/* A name_find_fn: ROOT's picture of this stem. */
static size_t find_stem(void *ctx, const char *stem)
{
    const struct lookup *l = ctx;
    size_t low = 0, high = l->root->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t index = l->root->by_stem[middle];
        int order = strcmp(l->tree->pictures[index].stem, stem);
        if (order == 0)
            return index;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NAME_NONE;
}

static void add_member(struct tree *tree, struct tree_split *split, size_t i,
                       int line)
{
    if ((split->n & (split->n - 1)) == 0) {
        size_t room = split->n ? 2 * split->n : 1;
        split->members = mem_grow(split->members, room, sizeof *split->members);
        split->lines = mem_grow(split->lines, room, sizeof *split->lines);
    }
    split->lines[split->n] = line;
    split->members[split->n++] = i;
    tree->pictures[i].picked = true;
}

static void read_lines(struct tree *tree, const struct tree_root *root,
                       struct tree_split *split, const char *path,
                       const struct name_list *list)
{
    struct lookup lookup = {tree, root};
    int *first = mem_new(root->n, sizeof *first); /* line of each picture */
    size_t n_excluded = 0;
    for (size_t k = 0; k < list->n; k++) {
        const struct name_line *line = &list->lines[k];
        struct name_match m = name_match(line->text, find_stem, &lookup);
        if (m.is_excluded)
            n_excluded++;
        else if (m.index == NAME_NONE)
            findings_add(&split->findings, FINDING_ANNOTATION, path,
                         line->number,
                         "\"%.80s\" has no annotation %s/%.80s.xml", line->text,
                         file_name(root->annotations), line->text);
        else if (first[m.index - root->first])
            findings_add(&split->findings, FINDING_REPEATED_LINE, path,
                         line->number,
                         "\"%.80s\" is in this list already, in line %d; it "
                         "counts once",
                         line->text, first[m.index - root->first]);
        else {
            first[m.index - root->first] = line->number;
            add_member(tree, split, m.index, line->number);
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

/* NAME_train, NAME_val and so on: which images have a class. */
static bool is_class_list(const char *name)
{
    static const char *const parts[] = {"train", "val", "trainval", "test"};
    const char *end = strrchr(name, '_');
    for (size_t k = 0; end && k < sizeof parts / sizeof *parts; k++)
        if (!strcmp(end + 1, parts[k]))
            return true;
    return false;
}

/* Names of the lists in ImageSets/Main without ".txt": those of classes, or
 * the others. */
static void list_splits(const struct tree_root *root, bool of_classes,
                        struct file_list *out)
{
    char *folder = mem_format("%s/ImageSets/Main", root->path);
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
            out->names = mem_grow(out->names, out->n + 1, sizeof *out->names);
            out->names[out->n++] = mem_copy_text(name);
        }
    file_list_clear(&files);
    free(folder);
}

static enum vd_err fail_no_split(const struct tree_root *root, const char *name,
                                 const char *path)
{
    struct file_list list = {0};
    struct text known = {0};
    list_splits(root, false, &list);
    if (list.n == 0)
        list_splits(root, true, &list);
    if (list.n == 0)
        text_add(&known,
                 "make the lists, one NAME a line (README, \"Your own data\", "
                 "has two lines of shell for it); without --split all images "
                 "become one data set");
    for (size_t i = 0; i < list.n && i < MAX_OFFERED; i++)
        text_add(&known, "%s%s", i ? ", " : "there are: ", list.names[i]);
    if (list.n > MAX_OFFERED)
        text_add(&known, " and %zu more", list.n - MAX_OFFERED);
    enum vd_err err = VD_FAIL(VD_NOINPUT, "%s: there is no split \"%s\"\n%s",
                              path, name, known.bytes);
    file_list_clear(&list);
    free(known.bytes);
    return err;
}

char *tree_list_path(const struct tree_root *root, const char *name)
{
    return mem_format("%s/ImageSets/Main/%s.txt", root->path, name);
}

/* For a check, a list that cannot be read is a finding. */
static enum vd_err read_list(const struct tree *tree, struct tree_split *split,
                             const char *path, struct name_list *list)
{
    if (!tree->is_for_check)
        return name_list_read(list, path, MAX_LIST_BYTES);
    struct findings_catch c = {
        .to = &split->findings, .kind = FINDING_LIST, .file = path};
    findings_catch_start(&c);
    if (name_list_read(list, path, MAX_LIST_BYTES) != VD_OK)
        *list = (struct name_list){0};
    findings_catch_end(&c);
    return VD_OK;
}

static enum vd_err read_split(struct tree *tree, const struct tree_root *root,
                              struct tree_split *split)
{
    struct name_list list = {0};
    char *path = tree_list_path(root, split->name);
    enum vd_err err = read_list(tree, split, path, &list);
    if (err == VD_OK)
        read_lines(tree, root, split, path, &list);
    name_list_clear(&list);
    free(path);
    return err;
}

static struct tree_split *find_split(struct tree *tree, const char *name)
{
    for (int k = 0; k < tree->n_splits; k++)
        if (!strcmp(tree->splits[k].name, name))
            return &tree->splits[k];
    return NULL;
}

static struct tree_split *new_split(struct tree *tree, const char *name)
{
    tree->splits = mem_grow(tree->splits, (size_t)tree->n_splits + 1,
                            sizeof *tree->splits);
    struct tree_split *split = &tree->splits[tree->n_splits++];
    *split = (struct tree_split){.name = mem_copy_text(name)};
    return split;
}

static enum vd_err check_exists(const struct tree_root *root, const char *name)
{
    char *path = tree_list_path(root, name);
    enum vd_err err =
        file_exists(path) ? VD_OK : fail_no_split(root, name, path);
    free(path);
    return err;
}

static enum vd_err add_split(struct tree *tree, const char *name)
{
    if (find_split(tree, name))
        return VD_FAIL(VD_USAGE, "--split names \"%s\" twice", name);
    if (!*name || strchr(name, '/') || *name == '.')
        return VD_FAIL(VD_USAGE,
                       "--split: \"%s\" is not the name of a split\ngive names "
                       "of files in ImageSets/Main without .txt, such as "
                       "train,val",
                       name);
    struct tree_split *split = new_split(tree, name);
    for (int k = 0; k < tree->n_roots; k++) {
        VD_TRY(check_exists(&tree->roots[k], name));
        VD_TRY(read_split(tree, &tree->roots[k], split));
    }
    return VD_OK;
}

/* One split of all pictures. */
static void add_whole(struct tree *tree)
{
    struct tree_split *whole = new_split(tree, "");
    for (size_t i = 0; i < tree->n_pictures; i++)
        add_member(tree, whole, i, 0);
}

enum vd_err tree_open_splits(struct tree *tree, const char *splits)
{
    enum vd_err err = VD_OK;
    if (!*splits) {
        add_whole(tree);
        return VD_OK;
    }
    char *copy = mem_copy_text(splits);
    for (char *rest = copy, *name; err == VD_OK && (name = strsep(&rest, ","));)
        err = add_split(tree, text_trim(name));
    free(copy);
    return err;
}

static enum vd_err add_lists(struct tree *tree, bool of_classes)
{
    enum vd_err err = VD_OK;
    for (int k = 0; err == VD_OK && k < tree->n_roots; k++) {
        struct file_list list = {0};
        list_splits(&tree->roots[k], of_classes, &list);
        for (size_t i = 0; err == VD_OK && i < list.n; i++) {
            struct tree_split *split = find_split(tree, list.names[i]);
            if (!split)
                split = new_split(tree, list.names[i]);
            err = read_split(tree, &tree->roots[k], split);
        }
        file_list_clear(&list);
    }
    return err;
}

enum vd_err tree_open_check_splits(struct tree *tree, const char *splits)
{
    tree->is_for_check = true;
    if (*splits)
        return tree_open_splits(tree, splits);
    tree->has_every_list = true;
    VD_TRY(add_lists(tree, false));
    if (tree->n_splits == 0)
        VD_TRY(add_lists(tree, true));
    if (tree->n_splits == 0)
        add_whole(tree);
    return VD_OK;
}
