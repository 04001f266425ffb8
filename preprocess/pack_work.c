/*
 * The shards of packing: pack_work() runs the jobs that the scheduler assigns.
 *
 * An ordered worker pool (workers.h) runs a job: threads load samples in any
 * order, the calling thread stores them in the order of the split. Example with
 * 2 threads and 8 slots: image 1 is loaded before image 0; store_sample() is
 * called when image 0 is ready, for 0 and then for 1. Image 8 uses slot 0, so
 * no thread starts it before image 0 is stored: memory holds at most 8 samples.
 *
 * A shard depends on its job alone, so its bytes do not depend on threads or
 * ranks.
 */
#include "base/alloc.h"
#include "base/progress.h"
#include "data/shard.h"
#include "preprocess/pack_internal.h"
#include "preprocess/pack_report.h"
#include "preprocess/sample.h"
#include "preprocess/split_check.h"
#include "preprocess/workers.h"

#include <stdlib.h>

#define SLOTS_PER_THREAD 4

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
    struct shard_format format = pack_report_format(p);
    enum vd_err err = shard_writer_new(&g->writer, path, &format);
    free(path);
    return err;
}

/* Recorded for compare_splits() (pack_finish.c). */
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
    pack_report_add_label(&g->outcome->labels, &g->pack->classes, &s->data);
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
