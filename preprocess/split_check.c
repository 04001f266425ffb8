#include "preprocess/split_check.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { ROLE_TRAIN = 1, ROLE_VAL = 2, ROLE_TEST = 4, ROLE_OTHER = 8 };
#define ROLE_UNKNOWN (~0U) /* may have something in common with any */

/* Bits: what two splits have in common they may share. */
static unsigned role_of(const struct tree *tree, size_t split)
{
    static const struct {
        const char *start;
        unsigned role;
    } known[] = {{"trainval", ROLE_TRAIN | ROLE_VAL},
                 {"train", ROLE_TRAIN},
                 {"val", ROLE_VAL},
                 {"test", ROLE_TEST}};
    const char *name = tree->splits[split].name;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (!strncmp(name, known[k].start, strlen(known[k].start)))
            return known[k].role;
    if (tree->has_every_list)
        return ROLE_UNKNOWN;
    return (unsigned)ROLE_OTHER << split % 24;
}

static bool are_exclusive(const struct tree *tree, size_t a, size_t b)
{
    return !(role_of(tree, a) & role_of(tree, b));
}

static bool is_training(const struct tree *tree, size_t split)
{
    unsigned role = role_of(tree, split);
    return role != ROLE_UNKNOWN && role & (ROLE_TRAIN | ROLE_OTHER);
}

/* ---- names ---- */

static void report_shared(struct tree *tree, size_t split, size_t member,
                          size_t other)
{
    struct tree_split *s = &tree->splits[split];
    const struct picture *p = &tree->pictures[s->members[member]];
    char *path = tree_list_path(&tree->roots[p->root], s->name);
    findings_add(&s->findings, FINDING_OVERLAP, path, s->lines[member],
                 "\"%s\" is in %s as well", p->stem, tree->splits[other].name);
    free(path);
}

void split_check_names(struct tree *tree)
{
    bool *is_member = mem_new(tree->n_pictures, sizeof *is_member);
    for (size_t a = 0; a < (size_t)tree->n_splits; a++) {
        const struct tree_split *s = &tree->splits[a];
        memset(is_member, 0, tree->n_pictures * sizeof *is_member);
        for (size_t i = 0; i < s->n; i++)
            is_member[s->members[i]] = true;
        for (size_t b = a + 1; b < (size_t)tree->n_splits; b++)
            for (size_t i = 0;
                 are_exclusive(tree, a, b) && i < tree->splits[b].n; i++)
                if (is_member[tree->splits[b].members[i]])
                    report_shared(tree, b, i, a);
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
    return x->picture < y->picture ? -1 : x->picture > y->picture;
}

/* Of images[first] up to images[i], all of one hash: one of another picture in
 * a split that must not share with that of images[i]; NULL: none. */
static const struct split_image *find_twin(const struct tree *tree,
                                           const struct split_image *images,
                                           size_t first, size_t i)
{
    const struct split_image *b = &images[i];
    size_t a = first;
    while (a < i && images[a].split < b->split) {
        size_t split = images[a].split;
        if (images[a].picture == b->picture && images[a + 1].split == split)
            a++;
        if (images[a].picture != b->picture &&
            are_exclusive(tree, split, b->split))
            return &images[a];
        while (a < i && images[a].split == split)
            a++;
    }
    return NULL;
}

void split_check_pixels(const struct tree *tree, struct split_image *images,
                        size_t n, struct findings *found)
{
    if (n)
        qsort(images, n, sizeof *images, by_hash);
    for (size_t first = 0, i = 0; i < n; i++) {
        const struct split_image *b = &images[i];
        if (b->hash != images[first].hash)
            first = i;
        const struct split_image *a = find_twin(tree, images, first, i);
        if (!a)
            continue;
        const struct picture *p = &tree->pictures[b->picture];
        findings_add(&found[b->split], FINDING_OVERLAP, p->path, 1,
                     "\"%s\" of %s has the same pixels as \"%s\" of %s", p->id,
                     tree->splits[b->split].name, tree->pictures[a->picture].id,
                     tree->splits[a->split].name);
    }
}

/* ---- classes ---- */

static void report_unlearned(const struct tree *tree, size_t split,
                             const char *class, size_t n, size_t training,
                             struct findings *found)
{
    char *path = tree_list_path(&tree->roots[0], tree->splits[split].name);
    findings_add(found, FINDING_UNLEARNED, path, 1,
                 "class \"%s\" is the label of %zu images here and never in "
                 "%s; it cannot be learned",
                 class, n, tree->splits[training].name);
    free(path);
}

void split_check_classes(const struct tree *tree, const struct classes *classes,
                         const size_t *counts, struct findings *found)
{
    size_t n_splits = (size_t)tree->n_splits, n_classes = (size_t)classes->n;
    size_t training = 0;
    while (training < n_splits && !is_training(tree, training))
        training++;
    for (size_t k = 0; training < n_splits && k < n_splits; k++)
        for (size_t c = 0; c < n_classes; c++)
            if (are_exclusive(tree, training, k) &&
                counts[k * n_classes + c] > 0 &&
                counts[training * n_classes + c] == 0)
                report_unlearned(tree, k, classes->names[c],
                                 counts[k * n_classes + c], training,
                                 &found[k]);
}
