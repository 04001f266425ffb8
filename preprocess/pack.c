/*
 * The plan of packing: the images of the splits, the classes, and the jobs.
 *
 * A job is one shard: a fixed range of a split's members. Example: 100 images
 * per shard, train with 250 images and val with 40. The jobs are train 0..99,
 * train 100..199, train 200..249 and val 0..39. If 10 of the first 100 images
 * are unusable, the first shard has 90 images; no image moves to another shard.
 * So the plan, and with it every shard, does not depend on threads or ranks.
 *
 * pack_output.c prepares and publishes folders, pack_work.c writes the shards
 * of jobs, pack_finish.c checks the outcomes and writes labels.csv and
 * pack.json.
 */
#include "preprocess/pack.h"

#include "base/alloc.h"
#include "data/shard.h"
#include "preprocess/split_check.h"
#include "preprocess/workers.h"

#include <stdlib.h>

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
