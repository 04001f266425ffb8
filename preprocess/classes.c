/*
 * The class list: names in label order, and a permutation of the class numbers
 * sorted by name, which classes_find() searches by bisection.
 *
 * classes_read() and classes_collect() differ only in the source of the names;
 * both call sort_and_check_classes(), which sorts the permutation and
 * rejects duplicates. To collect or check, the names of all objects are sorted:
 * equal names are then adjacent, so each is added or counted once.
 */
#include "preprocess/classes.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/text.h"
#include "data/shard.h"
#include "preprocess/name_list.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CLASS_FILE_BYTES ((size_t)4 << 20)
#define MAX_UNKNOWN_LISTED   20

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_name(const void *a, const void *b, void *names)
{
    char *const *n = names;
    return strcmp(n[*(const int *)a], n[*(const int *)b]);
}

static void add_name(struct classes *c, const char *name)
{
    if ((c->n & (c->n - 1)) == 0)
        c->names = xreallocarray(c->names, c->n ? 2 * (size_t)c->n : 1,
                                 sizeof *c->names);
    c->names[c->n++] = xstrdup(name);
}

/* Checks the limits and sorts `order`; `where` is for messages. */
static enum vd_err sort_and_check_classes(struct classes *c, const char *where)
{
    if (c->n > SHARD_MAX_CLASSES)
        return VD_FAIL(VD_DATA, "%s: more than %d class names", where,
                       SHARD_MAX_CLASSES);
    c->order = xcalloc((size_t)c->n, sizeof *c->order);
    for (int i = 0; i < c->n; i++)
        c->order[i] = i;
    qsort_r(c->order, (size_t)c->n, sizeof *c->order, by_name, c->names);
    for (int i = 1; i < c->n; i++)
        if (!strcmp(c->names[c->order[i - 1]], c->names[c->order[i]]))
            return VD_FAIL(VD_DATA,
                           "%s: class \"%s\" is given twice\n"
                           "remove one of the two lines",
                           where, c->names[c->order[i]]);
    return VD_OK;
}

static enum vd_err add_class_line(struct classes *c, const char *path,
                                  const struct name_line *line)
{
    if (strlen(text_collapse_spaces(line->text)) > ANNOTATION_MAX_NAME)
        return VD_FAIL(VD_DATA, "%s:%d: the class name is longer than %d bytes",
                       path, line->number, ANNOTATION_MAX_NAME);
    for (const char *at = line->text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return VD_FAIL(
                VD_DATA,
                "%s:%d: the class name contains a control character\nremove "
                "it",
                path, line->number);
    add_name(c, line->text);
    return VD_OK;
}

enum vd_err classes_read(struct classes *c, const char *path)
{
    enum vd_err err = VD_OK;
    struct classes list = {0};
    struct name_list file = {0};
    VD_TRY(name_list_read(&file, path, MAX_CLASS_FILE_BYTES));
    for (size_t i = 0; i < file.n; i++)
        VD_TRY_GOTO(out, err, add_class_line(&list, path, &file.lines[i]));
    if (list.n == 0) {
        err = VD_FAIL(VD_DATA,
                      "%s: contains no class name\nwrite one name per line",
                      path);
        goto out;
    }
    VD_TRY_GOTO(out, err, sort_and_check_classes(&list, path));
    *c = list;
    list = (struct classes){0};
out:
    classes_clear(&list);
    name_list_clear(&file);
    return err;
}

/* The names of all objects, sorted, with repetitions; with `only_in_split` only
 * those of images in a split. The array is owned, the texts are borrowed. */
static char **collect_object_names(const struct voc_dataset *dataset,
                                   bool only_in_split, size_t *n)
{
    size_t total = 0, k = 0;
    for (size_t i = 0; i < dataset->n_images; i++)
        total += (size_t)dataset->images[i].annotation.n_objects;
    char **names = xcalloc(total, sizeof *names);
    for (size_t i = 0; i < dataset->n_images; i++) {
        const struct annotated_image *p = &dataset->images[i];
        for (int j = 0; j < p->annotation.n_objects; j++)
            if (p->in_split || !only_in_split)
                names[k++] = p->annotation.objects[j].name;
    }
    qsort(names, k, sizeof *names, by_text);
    *n = k;
    return names;
}

enum vd_err classes_collect(struct classes *c,
                            const struct voc_dataset *dataset)
{
    struct classes list = {0};
    size_t n = 0;
    char **names = collect_object_names(dataset, false, &n);
    for (size_t i = 0; i < n && list.n <= SHARD_MAX_CLASSES; i++)
        if (i == 0 || strcmp(names[i - 1], names[i]))
            add_name(&list, names[i]);
    free(names);
    enum vd_err err =
        sort_and_check_classes(&list, dataset->roots[0].annotation_dir);
    if (err != VD_OK) {
        classes_clear(&list);
        return err;
    }
    *c = list;
    return VD_OK;
}

void classes_clear(struct classes *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->names[i]);
    free(c->names);
    free(c->order);
    *c = (struct classes){0};
}

int32_t classes_find(const struct classes *c, const char *name)
{
    int low = 0, high = c->n - 1;
    while (low <= high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(c->names[c->order[middle]], name);
        if (order == 0)
            return c->order[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

static void add_unknown(const struct classes *c, const char *name, size_t n,
                        struct text *out)
{
    const char *near =
        text_nearest(name, (const char *const *)c->names, (size_t)c->n);
    text_add(out, "%s\"%s\" (%zu object%s", out->length ? ", " : "", name, n,
             n == 1 ? "" : "s");
    if (near)
        text_add(out, "; did you mean \"%s\"?", near);
    text_add(out, ")");
}

enum vd_err classes_check(const struct classes *c,
                          const struct voc_dataset *dataset, const char *path)
{
    enum vd_err err = VD_OK;
    struct text unknown = {0};
    size_t n = 0, n_unknown = 0;
    char **names = collect_object_names(dataset, true, &n);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !strcmp(names[i], names[end]);)
            end++;
        if (classes_find(c, names[i]) < 0 && n_unknown++ < MAX_UNKNOWN_LISTED)
            add_unknown(c, names[i], end - i, &unknown);
    }
    if (n_unknown)
        err = VD_FAIL(VD_DATA,
                      "%s: %zu class name%s missing from this list but used in "
                      "the annotations: %s%s\nadd them to the list, or correct "
                      "the annotations",
                      path, n_unknown, n_unknown == 1 ? " is" : "s are",
                      unknown.bytes,
                      n_unknown > MAX_UNKNOWN_LISTED ? ", ..." : "");
    free(unknown.bytes);
    free(names);
    return err;
}
