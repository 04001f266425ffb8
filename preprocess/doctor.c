#include "preprocess/doctor.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "preprocess/classes.h"
#include "preprocess/sample.h"
#include "preprocess/split_check.h"
#include "preprocess/workers.h"

#include <stdlib.h>

#define SLOTS_PER_THREAD 16

struct checkup {
    FILE *out;
    struct tree *tree;
    const struct classes *classes;
    struct sample *slots;
    size_t *objects, *difficult, *largest; /* [n_classes] */
    int32_t *label;                        /* [n_pictures]; -1: not usable */
    uint64_t *hash; /* [n_pictures], of usable pictures' pixels */
    size_t found[FINDING_KINDS];
    size_t n_usable;
    struct progress progress;
};

static void look(void *ctx, size_t item, size_t slot)
{
    struct checkup *c = ctx;
    sample_make(&c->slots[slot], &c->tree->pictures[item], c->classes, 0);
}

static void tell(struct checkup *c, const struct findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        const struct finding *f = &findings->list[i];
        c->found[f->kind]++;
        fprintf(c->out, "%s:%d: %s\n", f->file, f->line, f->text);
    }
}

static enum vd_err note(void *ctx, size_t item, size_t slot)
{
    struct checkup *c = ctx;
    const struct picture *p = &c->tree->pictures[item];
    const struct sample *s = &c->slots[slot];
    progress_show(&c->progress, item + 1, NULL);
    tell(c, &s->findings);
    for (int i = 0; i < p->note.n_objects; i++) {
        int32_t class = classes_find(c->classes, p->note.objects[i].name);
        c->objects[class]++;
        c->difficult[class] += p->note.objects[i].difficult;
    }
    c->label[item] = s->usable ? s->data.class : -1;
    c->hash[item] = s->hash;
    if (s->usable) {
        c->largest[s->data.class]++;
        c->n_usable++;
    }
    return VD_OK;
}

/* Which lists were read, and what of them can be packed. */
static void put_splits(const struct checkup *c)
{
    for (int k = 0; k < c->tree->n_splits; k++) {
        const struct tree_split *split = &c->tree->splits[k];
        size_t n_usable = 0;
        for (size_t i = 0; i < split->n; i++)
            n_usable += c->label[split->members[i]] >= 0;
        if (*split->name)
            fprintf(c->out, "%zu of %zu in list %s\n", n_usable, split->n,
                    split->name);
    }
}

static size_t put_summary(const struct checkup *c)
{
    size_t n_found = 0;
    fprintf(c->out, "\n%-24s %9s %9s %9s\n", "class", "objects", "difficult",
            "largest");
    for (int k = 0; k < c->classes->n; k++)
        fprintf(c->out, "%-24s %9zu %9zu %9zu\n", c->classes->names[k],
                c->objects[k], c->difficult[k], c->largest[k]);
    fprintf(c->out, "\n%zu of %zu annotated pictures are usable\n", c->n_usable,
            c->tree->n_pictures);
    put_splits(c);
    for (int k = 0; k < FINDING_KINDS; k++) {
        n_found += c->found[k];
        if (c->found[k])
            fprintf(c->out, "%zu %s\n", c->found[k],
                    finding_text((enum finding_kind)k));
    }
    if (n_found == 0)
        fprintf(c->out, "nothing is wrong\n");
    return n_found;
}

/* Members of all splits that are usable, and their labels' counts. */
static size_t count_members(const struct checkup *c, struct split_image *images,
                            size_t *counts)
{
    size_t n = 0, n_classes = (size_t)c->classes->n;
    for (size_t k = 0; k < (size_t)c->tree->n_splits; k++) {
        const struct tree_split *split = &c->tree->splits[k];
        for (size_t i = 0; i < split->n; i++) {
            size_t member = split->members[i];
            if (c->label[member] < 0)
                continue;
            counts[k * n_classes + (size_t)c->label[member]]++;
            images[n++] = (struct split_image){c->hash[member], member, k};
        }
    }
    return n;
}

/* pack refuses a split without an image. */
static void find_empty_splits(const struct checkup *c,
                              const struct split_image *images, size_t n)
{
    for (size_t k = 0; k < (size_t)c->tree->n_splits; k++) {
        struct tree_split *split = &c->tree->splits[k];
        bool found =
            !*split->name || findings_count(&split->findings, FINDING_LIST) > 0;
        for (size_t i = 0; i < n && !found; i++)
            found = images[i].split == k;
        if (found)
            continue;
        char *path = tree_list_path(&c->tree->roots[0], split->name);
        findings_add(&split->findings, FINDING_LIST, path, 1,
                     "not one usable image in this list; it cannot be packed");
        free(path);
    }
}

/* What pack and train would object to in the lists, which were read. */
static void examine_splits(struct checkup *c)
{
    size_t n_splits = (size_t)c->tree->n_splits, n_members = 0;
    struct findings *found = mem_new(n_splits, sizeof *found);
    for (size_t k = 0; k < n_splits; k++)
        n_members += c->tree->splits[k].n;
    struct split_image *images = mem_new(n_members, sizeof *images);
    size_t *counts = mem_new(n_splits * (size_t)c->classes->n, sizeof *counts);
    size_t n = count_members(c, images, counts);
    split_check_names(c->tree);
    find_empty_splits(c, images, n);
    split_check_pixels(c->tree, images, n, found);
    split_check_classes(c->tree, c->classes, counts, found);
    tree_find_unannotated(c->tree);
    tell(c, &c->tree->findings);
    for (size_t k = 0; k < n_splits; k++) {
        tell(c, &c->tree->splits[k].findings);
        tell(c, &found[k]);
        findings_clear(&found[k]);
    }
    free(counts);
    free(images);
    free(found);
}

static enum vd_err examine(struct checkup *c, int n_threads)
{
    enum vd_err err = VD_OK;
    size_t n_slots = SLOTS_PER_THREAD * (size_t)n_threads;
    size_t n_classes = (size_t)c->classes->n;
    c->slots = mem_new(n_slots, sizeof *c->slots);
    c->objects = mem_new(n_classes, sizeof *c->objects);
    c->difficult = mem_new(n_classes, sizeof *c->difficult);
    c->largest = mem_new(n_classes, sizeof *c->largest);
    for (size_t k = 0; k < n_slots; k++)
        VD_TRY_ELSE(out, err, sample_init(&c->slots[k], 0));

    c->label = mem_new(c->tree->n_pictures, sizeof *c->label);
    c->hash = mem_new(c->tree->n_pictures, sizeof *c->hash);
    progress_start(&c->progress, "checking", 0, c->tree->n_pictures, false);
    err = workers_run(&(struct workers){
        .n_threads = n_threads,
        .n_items = c->tree->n_pictures,
        .n_slots = n_slots,
        .produce = look,
        .consume = note,
        .ctx = c,
    });
    progress_end(&c->progress);
    if (err == VD_OK)
        examine_splits(c);
out:
    for (size_t k = 0; k < n_slots; k++)
        sample_clear(&c->slots[k]);
    free(c->slots);
    return err;
}

enum vd_err doctor_run(const struct doctor_options *options, char *const *roots,
                       int n_roots, FILE *out)
{
    enum vd_err err = VD_OK;
    struct tree tree = {0};
    struct classes classes = {0};
    struct checkup c = {.out = out, .tree = &tree, .classes = &classes};
    int n_threads =
        options->threads > 0 ? (int)options->threads : workers_cores();
    if (n_roots == 0)
        return VD_FAIL(VD_USAGE, "no VOC folder given\n"
                                 "vocpack check VOCROOT...");
    VD_TRY(tree_open_for_check(&tree, roots, n_roots, options->split));
    VD_TRY_ELSE(out, err, tree_read(&tree, false, n_threads));
    VD_TRY_ELSE(out, err, classes_collect(&classes, &tree));
    VD_TRY_ELSE(out, err, examine(&c, n_threads));
    size_t n_found = put_summary(&c);
    if (n_found && options->strict)
        err = VD_FAIL(VD_DATA, "%zu problems found", n_found);
out:
    free(c.objects);
    free(c.difficult);
    free(c.largest);
    free(c.label);
    free(c.hash);
    classes_clear(&classes);
    tree_close(&tree);
    return err;
}
