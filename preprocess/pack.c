/*
 * Packing: the plan (jobs of one shard each), the shards, the verdict.
 *
 * An ordered worker pool (workers.h) runs a job: threads load samples in any
 * order, the calling thread stores them in the order of the split. Example with
 * 2 threads and 8 slots: image 1 is loaded before image 0; store_sample() is
 * called when image 0 is ready, for 0 and then for 1. Image 8 uses slot 0, so
 * no thread starts it before image 0 is stored: memory holds at most 8 samples.
 *
 * A shard depends on its job alone, so its bytes do not depend on threads or
 * ranks. Nothing is published before all jobs are done and checked.
 */
#include "preprocess/pack.h"

#include "base/alloc.h"
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

static enum vd_err check_pack_options(const struct pack_options *o, int n_roots)
{
    if (n_roots == 0)
        return VD_FAIL(VD_USAGE, "no VOC folder given\n"
                                 "usage: vocpack pack VOCROOT... --split "
                                 "train,val -o DIR");
    if (!*o->output)
        return VD_FAIL(VD_USAGE, "no output folder given\nset it with -o DIR");
    if (o->size % 32)
        return VD_FAIL(VD_USAGE,
                       "--size %lld: not a multiple of 32, as the network "
                       "requires\nthe next multiple is %lld",
                       (long long)o->size, (long long)(o->size / 32 + 1) * 32);
    return VD_OK;
}

static enum vd_err find_classes(struct pack *p)
{
    const char *path = p->options->classes;
    if (!*path)
        return classes_collect(&p->classes, &p->dataset);
    VD_TRY(classes_read(&p->classes, path));
    return classes_check(&p->classes, &p->dataset, path);
}

/* Images in one shard: --shard-size, by pixels. */
static size_t images_per_shard(const struct pack_options *o)
{
    size_t image_bytes = (size_t)o->size * (size_t)o->size * 3;
    size_t n = ((size_t)o->shard_mib << 20) / image_bytes;
    if (n > SHARD_MAX_IMAGES)
        n = SHARD_MAX_IMAGES;
    return n > 0 ? n : 1;
}

static enum vd_err plan_jobs(struct pack *p)
{
    size_t per_shard = images_per_shard(p->options);
    for (int k = 0; k < p->dataset.n_splits; k++) {
        size_t n = p->dataset.splits[k].n;
        if ((n - 1) / per_shard >= SHARD_MAX_FILES && n > 0)
            return VD_FAIL(VD_USAGE,
                           "%zu images need more than %d shards\nallow larger "
                           "shards with --shard-size",
                           n, SHARD_MAX_FILES);
        for (size_t first = 0, index = 0; first < n;
             first += per_shard, index++) {
            p->jobs = xreallocarray(p->jobs, p->n_jobs + 1, sizeof *p->jobs);
            p->jobs[p->n_jobs++] = (struct pack_job){
                k, index, first, n - first < per_shard ? n - first : per_shard};
        }
    }
    p->outcomes = xcalloc(p->n_jobs, sizeof *p->outcomes);
    for (size_t j = 0; j < p->n_jobs; j++)
        p->outcomes[j].class_counts =
            xcalloc((size_t)p->classes.n, sizeof(size_t));
    return VD_OK;
}

/* One split goes into DIR itself, several into DIR/NAME. */
static void plan_folders(struct pack *p)
{
    int n = p->dataset.n_splits;
    p->folders = xcalloc((size_t)n, sizeof *p->folders);
    for (int k = 0; k < n; k++)
        p->folders[k] = n == 1 ? xstrdup(p->options->output)
                               : xasprintf("%s/%s", p->options->output,
                                           p->dataset.splits[k].name);
}

enum vd_err pack_open(struct pack *p, const struct pack_options *options,
                      char *const *roots, int n_roots)
{
    enum vd_err err = VD_OK;
    *p = (struct pack){.options = options};
    VD_TRY(check_pack_options(options, n_roots));
    p->n_threads =
        options->threads > 0 ? (int)options->threads : workers_cores();
    VD_TRY_GOTO(out, err,
                voc_dataset_open(&p->dataset, roots, n_roots, options->split));
    VD_TRY_GOTO(
        out, err,
        voc_dataset_read(&p->dataset, *options->classes != '\0', p->n_threads));
    VD_TRY_GOTO(out, err, find_classes(p));
    if (!*options->split)
        voc_dataset_find_unannotated(&p->dataset);
    split_check_names(&p->dataset);
    for (int k = 0; k < n_roots; k++)
        text_add(&p->source, "%s%s", k ? "+" : "", p->dataset.roots[k].label);
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
        diagnostics_clear(&p->outcomes[j].diagnostics);
    }
    for (int k = 0; p->folders && k < p->dataset.n_splits; k++)
        free(p->folders[k]);
    free(p->folders);
    free(p->source.bytes);
    free(p->outcomes);
    free(p->jobs);
    classes_clear(&p->classes);
    voc_dataset_close(&p->dataset);
    *p = (struct pack){0};
}

/* ---- the shards ---- */

/* The job that is running. */
struct pack_context {
    struct pack *pack;
    const struct pack_scheduler *scheduler;
    const struct pack_job *job;
    struct pack_outcome *outcome;
    struct sample *slots; /* [n_slots] */
    struct shard_writer *writer;
    struct progress *progress;
    size_t n_done; /* images, an estimate for all ranks */
};

static void load_sample(void *ctx, size_t item, size_t slot)
{
    struct pack_context *g = ctx;
    const struct voc_dataset *dataset = &g->pack->dataset;
    const struct voc_split *split = &dataset->splits[g->job->split];
    size_t member = split->members[g->job->first + item];
    sample_load(&g->slots[slot], &dataset->images[member], &g->pack->classes,
                (int)g->pack->options->size);
}

/* Called for the first usable image: a shard without images is not written. */
static enum vd_err open_shard_writer(struct pack_context *g)
{
    const struct pack *p = g->pack;
    char *path = pack_shard_path(p, g->job, true);
    struct shard_format format = report_format(p);
    enum vd_err err = shard_writer_new(&g->writer, path, &format);
    free(path);
    return err;
}

/* Recorded for compare_splits(). */
static void record_split_image(struct pack_context *g, size_t item,
                               const struct sample *s)
{
    const struct pack *p = g->pack;
    size_t split = (size_t)g->job->split;
    struct split_image image = {
        .hash = s->hash,
        .index = p->dataset.splits[split].members[g->job->first + item],
        .split = split,
    };
    text_add_bytes(&g->outcome->images, &image, sizeof image);
}

static enum vd_err store_sample(void *ctx, size_t item, size_t slot)
{
    struct pack_context *g = ctx;
    struct sample *s = &g->slots[slot];
    progress_show(g->progress, ++g->n_done, NULL);
    g->scheduler->image_done(g->scheduler->ctx);
    diagnostics_add_all(&g->outcome->diagnostics, &s->diagnostics);
    if (!s->usable)
        return VD_OK;
    if (!g->writer)
        VD_TRY(open_shard_writer(g));
    VD_TRY(shard_writer_add(g->writer, &s->data));
    record_split_image(g, item, s);
    report_add_label(&g->outcome->labels, &g->pack->classes, &s->data);
    g->outcome->class_counts[s->data.class]++;
    return VD_OK;
}

static enum vd_err run_job(struct pack_context *g, size_t n_slots)
{
    enum vd_err err = VD_OK;
    VD_TRY_GOTO(out, err,
                workers_run(&(struct workers){
                    .n_threads = g->pack->n_threads,
                    .n_items = g->job->n,
                    .n_slots = n_slots,
                    .produce = load_sample,
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

static size_t count_job_images(const struct pack *p, size_t n_jobs)
{
    size_t n = 0;
    for (size_t j = 0; j < n_jobs; j++)
        n += p->jobs[j].n;
    return n;
}

/* Jobs are assigned in order, so the jobs before this one are done or running.
 * Their images count as done: the progress of all ranks together. */
static enum vd_err run_jobs(struct pack_context *g,
                            const struct pack_scheduler *scheduler,
                            size_t n_slots)
{
    struct pack *p = g->pack;
    size_t j = 0;
    for (;;) {
        VD_TRY(scheduler->next_job(scheduler->ctx, &j));
        if (j >= p->n_jobs)
            return VD_OK;
        g->job = &p->jobs[j];
        g->outcome = &p->outcomes[j];
        g->n_done = count_job_images(p, j);
        VD_TRY(run_job(g, n_slots));
        g->outcome->done = true;
    }
}

enum vd_err pack_work(struct pack *p, const struct pack_scheduler *scheduler)
{
    enum vd_err err = VD_OK;
    struct progress progress;
    size_t n_slots = SLOTS_PER_THREAD * (size_t)p->n_threads;
    struct pack_context g = {
        .pack = p,
        .scheduler = scheduler,
        .slots = xcalloc(n_slots, sizeof *g.slots),
        .progress = &progress,
    };
    progress_start(&progress, "packing", 0, count_job_images(p, p->n_jobs),
                   scheduler->silent);
    for (size_t k = 0; k < n_slots; k++)
        VD_TRY_GOTO(out, err, sample_init(&g.slots[k], (int)p->options->size));
    err = run_jobs(&g, scheduler, n_slots);
out:
    progress_end(&progress);
    for (size_t k = 0; k < n_slots; k++)
        sample_clear(&g.slots[k]);
    free(g.slots);
    return err;
}

/* ---- verdict, labels.csv, pack.json ---- */

/* The diagnostics of a split: first those of no job, then those of its jobs.
 * The diagnostics of the whole dataset are added to split 0. */
static void collect_split_diagnostics(const struct pack *p, int split,
                                      struct diagnostics *out)
{
    const struct voc_dataset *dataset = &p->dataset;
    if (split == 0)
        diagnostics_add_all(out, &dataset->diagnostics);
    diagnostics_add_all(out, &dataset->splits[split].diagnostics);
    for (size_t i = 0; split == 0 && i < dataset->n_images; i++) {
        const struct annotated_image *m = &dataset->images[i];
        if (!m->in_split && !m->readable) /* its class names are unknown */
            diagnostics_add_all(out, &m->diagnostics);
    }
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split)
            diagnostics_add_all(out, &p->outcomes[j].diagnostics);
}

/* Equal pixels in disjoint splits, and classes without a training image. */
static void compare_splits(const struct pack *p, struct diagnostics *found)
{
    size_t n_splits = (size_t)p->dataset.n_splits, k = 0;
    size_t n_classes = (size_t)p->classes.n;
    struct text all = {0};
    size_t *counts = xcalloc(n_splits * n_classes, sizeof *counts);
    for (size_t j = 0; j < p->n_jobs; j++)
        text_add_bytes(&all, p->outcomes[j].images.bytes,
                       p->outcomes[j].images.length);
    for (size_t s = 0; s < n_splits; s++)
        for (size_t c = 0; c < n_classes; c++)
            counts[k++] = report_count_class_images(p, (int)s, (int)c);
    split_check_pixels(&p->dataset, (struct split_image *)(void *)all.bytes,
                       all.length / sizeof(struct split_image), found);
    split_check_classes(&p->dataset, &p->classes, counts, found);
    free(all.bytes);
    free(counts);
}

static enum vd_err check_diagnostics(const struct pack *p,
                                     const struct diagnostics *found)
{
    size_t n_bad = diagnostics_count_bad(found);
    size_t n_empty = diagnostics_count(found, DIAGNOSTIC_EMPTY);
    bool stop_bad = n_bad && !p->options->skip_bad;
    bool stop_empty = n_empty && p->options->empty == PACK_EMPTY_ERROR;
    report_log_diagnostics(found, stop_bad, stop_empty);
    if (stop_bad)
        return VD_FAIL(VD_DATA,
                       "%zu files cannot be used; nothing was packed\n"
                       "correct them, or leave them out with --skip-bad",
                       n_bad);
    if (stop_empty)
        return VD_FAIL(VD_DATA,
                       "%zu images have no usable object; nothing was packed"
                       "\nlabel them, or leave them out with --empty skip",
                       n_empty);
    return VD_OK;
}

static enum vd_err write_labels_csv(const struct pack *p, int split)
{
    enum vd_err err = VD_OK;
    struct text all = {0};
    char *folder = pack_staging_dir(p, split);
    char *path = xasprintf("%s/labels.csv", folder);
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
                                  const struct diagnostics *found)
{
    size_t n = 0;
    struct shard_format format = report_format(p);
    struct shard_entry *entries = xcalloc(p->n_jobs, sizeof *entries);
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split && p->outcomes[j].n_images)
            entries[n++] = (struct shard_entry){
                .file = xasprintf("shard-%05zu.h5", p->jobs[j].index),
                .n_images = p->outcomes[j].n_images,
                .digest = p->outcomes[j].digest,
            };
    char *report = report_json(p, split, found);
    char *folder = pack_staging_dir(p, split);
    enum vd_err err = shard_write_manifest(folder, &format, entries, n, report);
    free(folder);
    for (size_t k = 0; k < n; k++)
        free(entries[k].file);
    free(entries);
    free(report);
    return err;
}

static enum vd_err check_splits_not_empty(const struct pack *p)
{
    for (int k = 0; k < p->dataset.n_splits; k++)
        if (report_count_images(p, k) == 0)
            return VD_FAIL(VD_DATA,
                           "%s: no usable image; nothing was packed\nvocpack "
                           "check lists the problems",
                           p->folders[k]);
    return VD_OK;
}

/* found[n_splits + 1]: of each split; the last has those of all splits. */
static void collect_all_diagnostics(const struct pack *p,
                                    struct diagnostics *found)
{
    int n = p->dataset.n_splits;
    for (int k = 0; k < n; k++)
        collect_split_diagnostics(p, k, &found[k]);
    compare_splits(p, found);
    for (int k = 0; k < n; k++)
        diagnostics_add_all(&found[n], &found[k]);
}

enum vd_err pack_finish(struct pack *p)
{
    enum vd_err err = VD_OK;
    int n = p->dataset.n_splits;
    struct diagnostics *found = xcalloc((size_t)n + 1, sizeof *found);
    collect_all_diagnostics(p, found);
    VD_TRY_GOTO(out, err, check_diagnostics(p, &found[n]));
    VD_TRY_GOTO(out, err, check_splits_not_empty(p));
    for (int k = 0; k < n; k++) {
        VD_TRY_GOTO(out, err, write_labels_csv(p, k));
        VD_TRY_GOTO(out, err, write_manifest(p, k, &found[k]));
    }
    err = pack_publish(p);
out:
    for (int k = 0; k <= n; k++)
        diagnostics_clear(&found[k]);
    free(found);
    if (err != VD_OK)
        pack_discard(p);
    return err;
}
