/*
 * Each split has roles, a bit set; two splits must be disjoint if they share no
 * role. trainval has the roles train and val; an unknown name has a role of its
 * own, or all roles if every list was read.
 *
 * Names: for each split a membership table, which the later splits are looked
 * up in. Pixels: images sorted by (hash, split, index), so equal pixels are
 * adjacent. Example: a of train and b of val have one hash; b is reported, as
 * val is the later split. If b were a itself, split_check_names() would have
 * reported it, so find_duplicate() ignores equal indices.
 */
#include "preprocess/split_check.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { ROLE_TRAIN = 1, ROLE_VAL = 2, ROLE_TEST = 4, ROLE_OTHER = 8 };
#define ROLE_UNKNOWN (~0U) /* may overlap with any split */

/* Bit set; splits with a common role may overlap. */
static unsigned role_of(const struct voc_dataset *dataset, size_t split)
{
    static const struct {
        const char *start;
        unsigned role;
    } known[] = {{"trainval", ROLE_TRAIN | ROLE_VAL},
                 {"train", ROLE_TRAIN},
                 {"val", ROLE_VAL},
                 {"test", ROLE_TEST}};
    const char *name = dataset->splits[split].name;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (!strncmp(name, known[k].start, strlen(known[k].start)))
            return known[k].role;
    if (dataset->has_every_list)
        return ROLE_UNKNOWN;
    return (unsigned)ROLE_OTHER << split % 24;
}

static bool must_be_disjoint(const struct voc_dataset *dataset, size_t a,
                             size_t b)
{
    return !(role_of(dataset, a) & role_of(dataset, b));
}

static bool is_training(const struct voc_dataset *dataset, size_t split)
{
    unsigned role = role_of(dataset, split);
    return role != ROLE_UNKNOWN && role & (ROLE_TRAIN | ROLE_OTHER);
}

/* ---- names ---- */

static void report_overlap(struct voc_dataset *dataset, size_t split,
                           size_t member, size_t other)
{
    struct voc_split *s = &dataset->splits[split];
    const struct annotated_image *p = &dataset->images[s->members[member]];
    char *path = voc_split_path(&dataset->roots[p->root], s->name);
    diagnostics_add(&s->diagnostics, DIAGNOSTIC_OVERLAP, path, s->lines[member],
                    "\"%s\" is in %s as well", p->stem,
                    dataset->splits[other].name);
    free(path);
}

void split_check_names(struct voc_dataset *dataset)
{
    bool *is_member = xcalloc(dataset->n_images, sizeof *is_member);
    for (size_t a = 0; a < (size_t)dataset->n_splits; a++) {
        const struct voc_split *s = &dataset->splits[a];
        memset(is_member, 0, dataset->n_images * sizeof *is_member);
        for (size_t i = 0; i < s->n; i++)
            is_member[s->members[i]] = true;
        for (size_t b = a + 1; b < (size_t)dataset->n_splits; b++)
            for (size_t i = 0;
                 must_be_disjoint(dataset, a, b) && i < dataset->splits[b].n;
                 i++)
                if (is_member[dataset->splits[b].members[i]])
                    report_overlap(dataset, b, i, a);
    }
    free(is_member);
}

/* ---- pixels ---- */

static int by_hash(const void *a, const void *b)
{
    const struct split_image *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    if (x->split != y->split)
        return x->split < y->split ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* images[first] to images[i] have equal hashes. Returns one before i that is a
 * different image in a split that must be disjoint from that of images[i], or
 * NULL. */
static const struct split_image *
find_duplicate(const struct voc_dataset *dataset,
               const struct split_image *images, size_t first, size_t i)
{
    const struct split_image *b = &images[i];
    size_t a = first;
    while (a < i && images[a].split < b->split) {
        size_t split = images[a].split;
        if (images[a].index == b->index && images[a + 1].split == split)
            a++;
        if (images[a].index != b->index &&
            must_be_disjoint(dataset, split, b->split))
            return &images[a];
        while (a < i && images[a].split == split)
            a++;
    }
    return NULL;
}

void split_check_pixels(const struct voc_dataset *dataset,
                        struct split_image *images, size_t n,
                        struct diagnostics *found)
{
    if (n)
        qsort(images, n, sizeof *images, by_hash);
    for (size_t first = 0, i = 0; i < n; i++) {
        const struct split_image *b = &images[i];
        if (b->hash != images[first].hash)
            first = i;
        const struct split_image *a = find_duplicate(dataset, images, first, i);
        if (!a)
            continue;
        const struct annotated_image *p = &dataset->images[b->index];
        diagnostics_add(&found[b->split], DIAGNOSTIC_OVERLAP, p->image_path, 1,
                        "\"%s\" of %s has the same pixels as \"%s\" of %s",
                        p->id, dataset->splits[b->split].name,
                        dataset->images[a->index].id,
                        dataset->splits[a->split].name);
    }
}

/* ---- classes ---- */

static void report_class_not_in_training(const struct voc_dataset *dataset,
                                         size_t split, const char *class,
                                         size_t n, size_t training,
                                         struct diagnostics *found)
{
    char *path =
        voc_split_path(&dataset->roots[0], dataset->splits[split].name);
    diagnostics_add(found, DIAGNOSTIC_CLASS_NOT_IN_TRAINING, path, 1,
                    "class \"%s\" is the label of %zu images here and never in "
                    "%s; it cannot be learned",
                    class, n, dataset->splits[training].name);
    free(path);
}

void split_check_classes(const struct voc_dataset *dataset,
                         const struct classes *classes, const size_t *counts,
                         struct diagnostics *found)
{
    size_t n_splits = (size_t)dataset->n_splits, n_classes = (size_t)classes->n;
    size_t training = 0;
    while (training < n_splits && !is_training(dataset, training))
        training++;
    for (size_t k = 0; training < n_splits && k < n_splits; k++)
        for (size_t c = 0; c < n_classes; c++)
            if (must_be_disjoint(dataset, training, k) &&
                counts[k * n_classes + c] > 0 &&
                counts[training * n_classes + c] == 0)
                report_class_not_in_training(dataset, k, classes->names[c],
                                             counts[k * n_classes + c],
                                             training, &found[k]);
}
