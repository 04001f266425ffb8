/*
 * The data check is packing without output:
 *
 *   1. list folders and splits, read all annotations, collect the classes
 *   2. load every annotated image on an ordered worker pool (decoded, not
 *      resized); print its diagnostics and count its objects in image order
 *   3. compare the splits by name, by pixels and by class (split_check.h)
 *   4. print the summary
 *
 * The output does not depend on the number of threads: only the calling thread
 * prints and counts.
 */
#include "preprocess/data_check.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/progress.h"
#include "preprocess/classes.h"
#include "preprocess/sample.h"
#include "preprocess/split_check.h"
#include "preprocess/workers.h"

#include <stdlib.h>

#define SLOTS_PER_THREAD 16

struct check_state {
    FILE *out;
    struct voc_dataset *dataset;
    const struct classes *classes;
    struct sample *slots;
    size_t *objects, *difficult, *largest; /* [n_classes] */
    int32_t *label;                        /* [n_images]; -1: not usable */
    uint64_t *hash; /* [n_images], of the pixels; valid for usable images */
    size_t found[DIAGNOSTIC_KINDS];
    size_t n_usable;
    struct progress progress;
};

static void check_image(void *ctx, size_t item, size_t slot)
{
    struct check_state *c = ctx;
    sample_load(&c->slots[slot], &c->dataset->images[item], c->classes, 0);
}

static void print_diagnostics(struct check_state *c,
                              const struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->n; i++) {
        const struct diagnostic *d = &diagnostics->list[i];
        c->found[d->kind]++;
        fprintf(c->out, "%s:%d: %s\n", d->file, d->line, d->text);
    }
}

static enum vd_err record_sample(void *ctx, size_t item, size_t slot)
{
    struct check_state *c = ctx;
    const struct annotated_image *p = &c->dataset->images[item];
    const struct sample *s = &c->slots[slot];
    progress_show(&c->progress, item + 1, NULL);
    print_diagnostics(c, &s->diagnostics);
    for (int i = 0; i < p->annotation.n_objects; i++) {
        int32_t class = classes_find(c->classes, p->annotation.objects[i].name);
        c->objects[class]++;
        c->difficult[class] += p->annotation.objects[i].difficult;
    }
    c->label[item] = s->usable ? s->data.class : -1;
    c->hash[item] = s->hash;
    if (s->usable) {
        c->largest[s->data.class]++;
        c->n_usable++;
    }
    return VD_OK;
}

/* The lists that were read, with their numbers of usable images. */
static void print_splits(const struct check_state *c)
{
    for (int k = 0; k < c->dataset->n_splits; k++) {
        const struct voc_split *split = &c->dataset->splits[k];
        size_t n_usable = 0;
        for (size_t i = 0; i < split->n; i++)
            n_usable += c->label[split->members[i]] >= 0;
        if (*split->name)
            fprintf(c->out, "%zu of %zu images in list %s are usable\n",
                    n_usable, split->n, split->name);
    }
}

static size_t print_summary(const struct check_state *c)
{
    size_t n_found = 0;
    fprintf(c->out, "\n%-24s %9s %9s %9s\n", "class", "objects", "difficult",
            "largest");
    for (int k = 0; k < c->classes->n; k++)
        fprintf(c->out, "%-24s %9zu %9zu %9zu\n", c->classes->names[k],
                c->objects[k], c->difficult[k], c->largest[k]);
    fprintf(c->out, "\n%zu of %zu annotated images are usable\n", c->n_usable,
            c->dataset->n_images);
    print_splits(c);
    for (int k = 0; k < DIAGNOSTIC_KINDS; k++) {
        n_found += c->found[k];
        if (c->found[k])
            fprintf(c->out, "%zu %s\n", c->found[k],
                    diagnostic_text((enum diagnostic_kind)k));
    }
    if (n_found == 0)
        fprintf(c->out, "no problems found\n");
    return n_found;
}

/* Fills in the usable members of all splits and `counts` [n_splits, n_classes]
 * of their labels; returns the number of members. */
static size_t count_usable_members(const struct check_state *c,
                                   struct split_image *images, size_t *counts)
{
    size_t n = 0, n_classes = (size_t)c->classes->n;
    for (size_t k = 0; k < (size_t)c->dataset->n_splits; k++) {
        const struct voc_split *split = &c->dataset->splits[k];
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

/* Adds a diagnostic for a split without a usable image, which vocpack pack
 * rejects. */
static void find_empty_splits(const struct check_state *c,
                              const struct split_image *images, size_t n)
{
    for (size_t k = 0; k < (size_t)c->dataset->n_splits; k++) {
        struct voc_split *split = &c->dataset->splits[k];
        bool found = !*split->name || diagnostics_count(&split->diagnostics,
                                                        DIAGNOSTIC_LIST) > 0;
        for (size_t i = 0; i < n && !found; i++)
            found = images[i].split == k;
        if (found)
            continue;
        char *path = voc_split_path(&c->dataset->roots[0], split->name);
        diagnostics_add(&split->diagnostics, DIAGNOSTIC_LIST, path, 1,
                        "no usable image in this list; it cannot be packed");
        free(path);
    }
}

/* Problems of the lists, which vocpack pack and vocdist train report as well.
 */
static void check_splits(struct check_state *c)
{
    size_t n_splits = (size_t)c->dataset->n_splits, n_members = 0;
    struct diagnostics *found = xcalloc(n_splits, sizeof *found);
    for (size_t k = 0; k < n_splits; k++)
        n_members += c->dataset->splits[k].n;
    struct split_image *images = xcalloc(n_members, sizeof *images);
    size_t *counts = xcalloc(n_splits * (size_t)c->classes->n, sizeof *counts);
    size_t n = count_usable_members(c, images, counts);
    split_check_names(c->dataset);
    find_empty_splits(c, images, n);
    split_check_pixels(c->dataset, images, n, found);
    split_check_classes(c->dataset, c->classes, counts, found);
    voc_dataset_find_unannotated(c->dataset);
    print_diagnostics(c, &c->dataset->diagnostics);
    for (size_t k = 0; k < n_splits; k++) {
        print_diagnostics(c, &c->dataset->splits[k].diagnostics);
        print_diagnostics(c, &found[k]);
        diagnostics_clear(&found[k]);
    }
    free(counts);
    free(images);
    free(found);
}

static enum vd_err check_images(struct check_state *c, int n_threads)
{
    enum vd_err err = VD_OK;
    size_t n_slots = SLOTS_PER_THREAD * (size_t)n_threads;
    size_t n_classes = (size_t)c->classes->n;
    c->slots = xcalloc(n_slots, sizeof *c->slots);
    c->objects = xcalloc(n_classes, sizeof *c->objects);
    c->difficult = xcalloc(n_classes, sizeof *c->difficult);
    c->largest = xcalloc(n_classes, sizeof *c->largest);
    for (size_t k = 0; k < n_slots; k++)
        VD_TRY_GOTO(out, err, sample_init(&c->slots[k], 0));

    c->label = xcalloc(c->dataset->n_images, sizeof *c->label);
    c->hash = xcalloc(c->dataset->n_images, sizeof *c->hash);
    progress_start(&c->progress, "checking", 0, c->dataset->n_images, false);
    err = workers_run(&(struct workers){
        .n_threads = n_threads,
        .n_items = c->dataset->n_images,
        .n_slots = n_slots,
        .produce = check_image,
        .consume = record_sample,
        .ctx = c,
    });
    progress_end(&c->progress);
    if (err == VD_OK)
        check_splits(c);
out:
    for (size_t k = 0; k < n_slots; k++)
        sample_clear(&c->slots[k]);
    free(c->slots);
    return err;
}

enum vd_err data_check_run(const struct data_check_options *options,
                           char *const *roots, int n_roots, FILE *out)
{
    enum vd_err err = VD_OK;
    struct voc_dataset dataset = {0};
    struct classes classes = {0};
    struct check_state c = {
        .out = out, .dataset = &dataset, .classes = &classes};
    int n_threads =
        options->threads > 0 ? (int)options->threads : workers_cores();
    if (n_roots == 0)
        return VD_FAIL(VD_USAGE, "no VOC folder given\n"
                                 "usage: vocpack check VOCROOT...");
    VD_TRY(
        voc_dataset_open_for_check(&dataset, roots, n_roots, options->split));
    VD_TRY_GOTO(out, err, voc_dataset_read(&dataset, false, n_threads));
    VD_TRY_GOTO(out, err, classes_collect(&classes, &dataset));
    VD_TRY_GOTO(out, err, check_images(&c, n_threads));
    size_t n_found = print_summary(&c);
    if (n_found && options->strict)
        err = VD_FAIL(VD_DATA,
                      "%zu problems found\n"
                      "correct the files that are listed above",
                      n_found);
out:
    free(c.objects);
    free(c.difficult);
    free(c.largest);
    free(c.label);
    free(c.hash);
    classes_clear(&classes);
    voc_dataset_close(&dataset);
    return err;
}
