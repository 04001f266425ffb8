/*
 * The end of packing, on rank 0:
 *
 *   1. collect the diagnostics of each split and compare the splits
 *   2. log them; fail if they stop packing, or if a split has no image
 *   3. write labels.csv and pack.json of each split into its staging folder
 *   4. publish all splits (pack_output.c)
 *
 * If a step fails, the staging folders are removed: nothing is published.
 */
#include "base/alloc.h"
#include "data/shard.h"
#include "preprocess/pack_internal.h"
#include "preprocess/pack_report.h"
#include "preprocess/split_check.h"
#include "store/atomic.h"

#include <stdlib.h>

/* ---- diagnostics ---- */

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
            counts[k++] = pack_report_count_class_images(p, (int)s, (int)c);
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
    pack_report_log_diagnostics(found, stop_bad, stop_empty);
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

/* ---- labels.csv, pack.json ---- */

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
    struct shard_format format = pack_report_format(p);
    struct shard_entry *entries = xcalloc(p->n_jobs, sizeof *entries);
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split && p->outcomes[j].n_images)
            entries[n++] = (struct shard_entry){
                .file = xasprintf("shard-%05zu.h5", p->jobs[j].index),
                .n_images = p->outcomes[j].n_images,
                .digest = p->outcomes[j].digest,
            };
    char *report = pack_report_json(p, split, found);
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
        if (pack_report_count_images(p, k) == 0)
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
