#include "preprocess/pack.h"

#include "base/mem.h"
#include "base/progress.h"
#include "data/shard.h"
#include "preprocess/pack_internal.h"
#include "preprocess/report.h"
#include "preprocess/sample.h"
#include "preprocess/split_check.h"
#include "preprocess/workers.h"
#include "store/atomic.h"

#include <stdlib.h>

#define SLOTS_PER_THREAD 4

/* ---- plan ---- */

static enum vd_err check_options(const struct pack_options *o, int n_roots)
{
    if (n_roots == 0)
        return VD_FAIL(VD_USAGE, "no VOC folder given\n"
                                 "vocpack pack VOCROOT... --split "
                                 "train,val -o DIR");
    if (!*o->output)
        return VD_FAIL(VD_USAGE, "no output folder given\nname it with -o DIR");
    if (o->size % 32)
        return VD_FAIL(VD_USAGE,
                       "--size %lld: not a multiple of 32, which the network "
                       "needs\nthe next one is %lld",
                       (long long)o->size, (long long)(o->size / 32 + 1) * 32);
    return VD_OK;
}

static enum vd_err find_classes(struct pack *p)
{
    const char *path = p->options->classes;
    if (!*path)
        return classes_collect(&p->classes, &p->tree);
    VD_TRY(classes_read(&p->classes, path));
    return classes_check(&p->classes, &p->tree, path);
}

/* Pictures in one shard. */
static size_t shard_pictures(const struct pack_options *o)
{
    size_t picture = (size_t)o->size * (size_t)o->size * 3;
    size_t n = ((size_t)o->shard_mib << 20) / picture;
    if (n > SHARD_MAX_IMAGES)
        n = SHARD_MAX_IMAGES;
    return n > 0 ? n : 1;
}

static enum vd_err plan_jobs(struct pack *p)
{
    size_t per_shard = shard_pictures(p->options);
    for (int k = 0; k < p->tree.n_splits; k++) {
        size_t n = p->tree.splits[k].n;
        if ((n - 1) / per_shard >= SHARD_MAX_FILES && n > 0)
            return VD_FAIL(VD_USAGE,
                           "more than %d files for %zu pictures\nallow larger "
                           "ones with --shard-size",
                           SHARD_MAX_FILES, n);
        for (size_t first = 0, index = 0; first < n;
             first += per_shard, index++) {
            p->jobs = mem_grow(p->jobs, p->n_jobs + 1, sizeof *p->jobs);
            p->jobs[p->n_jobs++] = (struct pack_job){
                k, index, first, n - first < per_shard ? n - first : per_shard};
        }
    }
    p->outcomes = mem_new(p->n_jobs, sizeof *p->outcomes);
    for (size_t j = 0; j < p->n_jobs; j++)
        p->outcomes[j].class_counts =
            mem_new((size_t)p->classes.n, sizeof(size_t));
    return VD_OK;
}

/* One split goes into DIR itself, several into DIR/NAME. */
static void plan_folders(struct pack *p)
{
    int n = p->tree.n_splits;
    p->folders = mem_new((size_t)n, sizeof *p->folders);
    for (int k = 0; k < n; k++)
        p->folders[k] = n == 1 ? mem_copy_text(p->options->output)
                               : mem_format("%s/%s", p->options->output,
                                            p->tree.splits[k].name);
}

enum vd_err pack_open(struct pack *p, const struct pack_options *options,
                      char *const *roots, int n_roots)
{
    enum vd_err err = VD_OK;
    *p = (struct pack){.options = options};
    VD_TRY(check_options(options, n_roots));
    p->n_threads =
        options->threads > 0 ? (int)options->threads : workers_cores();
    VD_TRY_ELSE(out, err, tree_open(&p->tree, roots, n_roots, options->split));
    VD_TRY_ELSE(out, err,
                tree_read(&p->tree, *options->classes != '\0', p->n_threads));
    VD_TRY_ELSE(out, err, find_classes(p));
    if (!*options->split)
        tree_find_unannotated(&p->tree);
    split_check_names(&p->tree);
    for (int k = 0; k < n_roots; k++)
        text_add(&p->source, "%s%s", k ? "+" : "", p->tree.roots[k].label);
    plan_folders(p);
    err = plan_jobs(p);
out:
    if (err != VD_OK)
        pack_close(p);
    return err;
}

void pack_close(struct pack *p)
{
    for (size_t j = 0; j < p->n_jobs; j++) {
        free(p->outcomes[j].class_counts);
        free(p->outcomes[j].labels.bytes);
        free(p->outcomes[j].images.bytes);
        findings_clear(&p->outcomes[j].findings);
    }
    for (int k = 0; p->folders && k < p->tree.n_splits; k++)
        free(p->folders[k]);
    free(p->folders);
    free(p->source.bytes);
    free(p->outcomes);
    free(p->jobs);
    classes_clear(&p->classes);
    tree_close(&p->tree);
    *p = (struct pack){0};
}

/* ---- the shards ---- */

/* One job at work. */
struct packing {
    struct pack *pack;
    const struct pack_share *share;
    const struct pack_job *job;
    struct pack_outcome *outcome;
    struct sample *slots; /* [n_slots] */
    struct shard_writer *writer;
    struct progress *progress;
    size_t n_done; /* images, of all ranks */
};

static void make_sample(void *ctx, size_t item, size_t slot)
{
    struct packing *g = ctx;
    const struct tree *tree = &g->pack->tree;
    const struct tree_split *split = &tree->splits[g->job->split];
    size_t member = split->members[g->job->first + item];
    sample_make(&g->slots[slot], &tree->pictures[member], &g->pack->classes,
                (int)g->pack->options->size);
}

/* Created with the first picture: a shard without any does not exist. */
static enum vd_err open_writer(struct packing *g)
{
    const struct pack *p = g->pack;
    char *path = pack_shard_path(p, g->job, true);
    struct shard_format format = report_format(p);
    enum vd_err err = shard_writer_new(&g->writer, path, &format);
    free(path);
    return err;
}

/* For the comparison of splits. */
static void note_image(struct packing *g, size_t item, const struct sample *s)
{
    const struct pack *p = g->pack;
    size_t split = (size_t)g->job->split;
    struct split_image image = {
        .hash = s->hash,
        .picture = p->tree.splits[split].members[g->job->first + item],
        .split = split,
    };
    text_add_bytes(&g->outcome->images, &image, sizeof image);
}

static enum vd_err store_sample(void *ctx, size_t item, size_t slot)
{
    struct packing *g = ctx;
    struct sample *s = &g->slots[slot];
    progress_show(g->progress, ++g->n_done, NULL);
    g->share->image_done(g->share->ctx);
    findings_add_all(&g->outcome->findings, &s->findings);
    if (!s->usable)
        return VD_OK;
    if (!g->writer)
        VD_TRY(open_writer(g));
    VD_TRY(shard_writer_add(g->writer, &s->data));
    note_image(g, item, s);
    report_add_label(&g->outcome->labels, &g->pack->classes, &s->data);
    g->outcome->class_counts[s->data.class]++;
    return VD_OK;
}

static enum vd_err run_job(struct packing *g, size_t n_slots)
{
    enum vd_err err = VD_OK;
    VD_TRY_ELSE(out, err,
                workers_run(&(struct workers){
                    .n_threads = g->pack->n_threads,
                    .n_items = g->job->n,
                    .n_slots = n_slots,
                    .produce = make_sample,
                    .consume = store_sample,
                    .ctx = g,
                }));
    if (g->writer)
        err = shard_writer_commit(g->writer, &g->outcome->n_images,
                                  &g->outcome->digest);
out:
    shard_writer_free(g->writer);
    g->writer = NULL;
    return err;
}

static size_t count_pictures(const struct pack *p, size_t n_jobs)
{
    size_t n = 0;
    for (size_t j = 0; j < n_jobs; j++)
        n += p->jobs[j].n;
    return n;
}

/* Jobs are given out in order, so those before this one are done, or nearly:
 * that is the progress of all ranks together. */
static enum vd_err do_jobs(struct packing *g, const struct pack_share *share,
                           size_t n_slots)
{
    struct pack *p = g->pack;
    size_t j = 0;
    for (;;) {
        VD_TRY(share->next_job(share->ctx, &j));
        if (j >= p->n_jobs)
            return VD_OK;
        g->job = &p->jobs[j];
        g->outcome = &p->outcomes[j];
        g->n_done = count_pictures(p, j);
        VD_TRY(run_job(g, n_slots));
        g->outcome->done = true;
    }
}

enum vd_err pack_work(struct pack *p, const struct pack_share *share)
{
    enum vd_err err = VD_OK;
    struct progress progress;
    size_t n_slots = SLOTS_PER_THREAD * (size_t)p->n_threads;
    struct packing g = {
        .pack = p,
        .share = share,
        .slots = mem_new(n_slots, sizeof *g.slots),
        .progress = &progress,
    };
    progress_start(&progress, "packing", 0, count_pictures(p, p->n_jobs),
                   share->silent);
    for (size_t k = 0; k < n_slots; k++)
        VD_TRY_ELSE(out, err, sample_init(&g.slots[k], (int)p->options->size));
    err = do_jobs(&g, share, n_slots);
out:
    progress_end(&progress);
    for (size_t k = 0; k < n_slots; k++)
        sample_clear(&g.slots[k]);
    free(g.slots);
    return err;
}

/* ---- verdict, labels.csv, pack.json ---- */

/* All that was found, in order: first what stands in no job. */
static void collect_findings(const struct pack *p, int split,
                             struct findings *out)
{
    const struct tree *tree = &p->tree;
    if (split == 0)
        findings_add_all(out, &tree->findings);
    findings_add_all(out, &tree->splits[split].findings);
    for (size_t i = 0; split == 0 && i < tree->n_pictures; i++) {
        const struct picture *m = &tree->pictures[i];
        if (!m->picked && !m->readable) /* it may hold class names */
            findings_add_all(out, &m->findings);
    }
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split)
            findings_add_all(out, &p->outcomes[j].findings);
}

/* What the splits should not have in common, and what they should. */
static void compare_splits(const struct pack *p, struct findings *found)
{
    size_t n_splits = (size_t)p->tree.n_splits, k = 0;
    size_t n_classes = (size_t)p->classes.n;
    struct text all = {0};
    size_t *counts = mem_new(n_splits * n_classes, sizeof *counts);
    for (size_t j = 0; j < p->n_jobs; j++)
        text_add_bytes(&all, p->outcomes[j].images.bytes,
                       p->outcomes[j].images.length);
    for (size_t s = 0; s < n_splits; s++)
        for (size_t c = 0; c < n_classes; c++)
            counts[k++] = report_class_pictures(p, (int)s, (int)c);
    split_check_pixels(&p->tree, (struct split_image *)(void *)all.bytes,
                       all.length / sizeof(struct split_image), found);
    split_check_classes(&p->tree, &p->classes, counts, found);
    free(all.bytes);
    free(counts);
}

static enum vd_err judge(const struct pack *p, const struct findings *found)
{
    size_t n_bad = findings_count_bad(found);
    size_t n_empty = findings_count(found, FINDING_EMPTY);
    bool stop_bad = n_bad && !p->options->skip_bad;
    bool stop_empty = n_empty && p->options->empty == PACK_EMPTY_ERROR;
    report_log_findings(found, stop_bad, stop_empty);
    if (stop_bad)
        return VD_FAIL(VD_DATA,
                       "%zu files cannot be used; nothing was packed\n"
                       "correct them, or leave them out with --skip-bad",
                       n_bad);
    if (stop_empty)
        return VD_FAIL(VD_DATA,
                       "%zu pictures have no usable object; nothing was packed"
                       "\nlabel them, or leave them out with --empty skip",
                       n_empty);
    return VD_OK;
}

static enum vd_err write_labels(const struct pack *p, int split)
{
    enum vd_err err = VD_OK;
    struct text all = {0};
    char *folder = pack_staging(p, split);
    char *path = mem_format("%s/labels.csv", folder);
    text_add(&all, "id,class,x1,y1,x2,y2,width,height\n");
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split && p->outcomes[j].labels.length)
            text_add_bytes(&all, p->outcomes[j].labels.bytes,
                           p->outcomes[j].labels.length);
    err = atomic_write(path, all.bytes, all.length);
    free(all.bytes);
    free(path);
    free(folder);
    return err;
}

static enum vd_err write_manifest(const struct pack *p, int split,
                                  const struct findings *found)
{
    size_t n = 0;
    struct shard_format format = report_format(p);
    struct shard_entry *entries = mem_new(p->n_jobs, sizeof *entries);
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split && p->outcomes[j].n_images)
            entries[n++] = (struct shard_entry){
                .file = mem_format("shard-%05zu.h5", p->jobs[j].index),
                .n_images = p->outcomes[j].n_images,
                .digest = p->outcomes[j].digest,
            };
    char *report = report_json(p, split, found);
    char *folder = pack_staging(p, split);
    enum vd_err err = shard_write_manifest(folder, &format, entries, n, report);
    free(folder);
    for (size_t k = 0; k < n; k++)
        free(entries[k].file);
    free(entries);
    free(report);
    return err;
}

/* Every split has an image, or none is published. */
static enum vd_err refuse_empty(const struct pack *p)
{
    for (int k = 0; k < p->tree.n_splits; k++)
        if (report_pictures(p, k) == 0)
            return VD_FAIL(VD_DATA,
                           "%s: not one picture is left to pack; nothing was "
                           "packed",
                           p->folders[k]);
    return VD_OK;
}

/* found[n_splits] + 1: the last holds all of them. */
static void gather_findings(const struct pack *p, struct findings *found)
{
    int n = p->tree.n_splits;
    for (int k = 0; k < n; k++)
        collect_findings(p, k, &found[k]);
    compare_splits(p, found);
    for (int k = 0; k < n; k++)
        findings_add_all(&found[n], &found[k]);
}

enum vd_err pack_finish(struct pack *p)
{
    enum vd_err err = VD_OK;
    int n = p->tree.n_splits;
    struct findings *found = mem_new((size_t)n + 1, sizeof *found);
    gather_findings(p, found);
    VD_TRY_ELSE(out, err, judge(p, &found[n]));
    VD_TRY_ELSE(out, err, refuse_empty(p));
    for (int k = 0; k < n; k++) {
        VD_TRY_ELSE(out, err, write_labels(p, k));
        VD_TRY_ELSE(out, err, write_manifest(p, k, &found[k]));
    }
    err = pack_publish(p);
out:
    for (int k = 0; k <= n; k++)
        findings_clear(&found[k]);
    free(found);
    if (err != VD_OK)
        pack_discard(p);
    return err;
}
