#include "preprocess/doctor.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "preprocess/classes.h"
#include "preprocess/sample.h"
#include "preprocess/workers.h"

#include <stdlib.h>

#define SLOTS_PER_THREAD 16

struct checkup {
    FILE *out;
    struct tree *tree;
    const struct classes *classes;
    struct sample *slots;
    size_t *objects, *difficult, *largest; /* [n_classes] */
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
    if (s->usable) {
        c->largest[s->data.class]++;
        c->n_usable++;
    }
    return VD_OK;
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

    for (int k = 0; k < c->tree->n_splits; k++)
        tell(c, &c->tree->splits[k].findings);
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
    VD_TRY(tree_open(&tree, roots, n_roots, options->split));
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
    classes_clear(&classes);
    tree_close(&tree);
    return err;
}
