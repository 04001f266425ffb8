/*
 * The texts of packing. Counts are sums over the outcomes of a split's jobs.
 *
 * pack.json lists diagnostics by kind, the most severe first, up to
 * PACK_REPORT_MAX_DIAGNOSTICS; paths are relative to the roots. It has no
 * times, no hosts and no absolute paths, so its bytes depend on data and
 * options only.
 */
#include "preprocess/pack_report.h"

#include "base/alloc.h"
#include "base/log.h"
#include "store/json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LOGGED 5 /* diagnostics of one kind */

struct shard_format pack_report_format(const struct pack *p)
{
    return (struct shard_format){
        .width = (int)p->options->size,
        .height = (int)p->options->size,
        .classes = (const char *const *)p->classes.names,
        .n_classes = p->classes.n,
        .source = p->source.bytes,
    };
}

/* ---- labels.csv ---- */

void pack_report_add_label(struct text *out, const struct classes *classes,
                           const struct shard_sample *sample)
{
    const float *b = sample->box;
    text_add_csv(out, sample->id);
    text_add(out, ",");
    text_add_csv(out, classes->names[sample->class]);
    text_add(out, ",%.9g,%.9g,%.9g,%.9g,%d,%d\n", (double)b[0], (double)b[1],
             (double)b[2], (double)b[3], sample->size[0], sample->size[1]);
}

/* ---- counts ---- */

size_t pack_report_count_images(const struct pack *p, int split)
{
    size_t n = 0;
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split)
            n += p->outcomes[j].n_images;
    return n;
}

size_t pack_report_count_class_images(const struct pack *p, int split,
                                      int class)
{
    size_t n = 0;
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split)
            n += p->outcomes[j].class_counts[class];
    return n;
}

/* ---- pack.json ---- */

static struct json *options_json(const struct pack *p, int split)
{
    const struct pack_options *o = p->options;
    struct json *out = json_new_object();
    json_put_text(out, "split", p->dataset.splits[split].name);
    json_put_int(out, "size", o->size);
    json_put_text(out, "classes", *o->classes ? "from a file" : "collected");
    json_put_text(out, "empty",
                  o->empty == PACK_EMPTY_ERROR ? "error" : "skip");
    json_put_text(out, "skip_bad", o->skip_bad ? "yes" : "no");
    json_put_int(out, "shard_mib", o->shard_mib);
    return out;
}

static struct json *diagnostic_json(const struct pack *p,
                                    const struct diagnostic *d)
{
    struct json *out = json_new_object();
    char *file = voc_dataset_relative_path(&p->dataset, d->file);
    json_put_text(out, "kind", diagnostic_key(d->kind));
    json_put_text(out, "file", file);
    json_put_int(out, "line", d->line);
    json_put_text(out, "text", d->text);
    free(file);
    return out;
}

/* By kind, the most severe first: the limit leaves out the least severe. */
static struct json *diagnostics_json(const struct pack *p,
                                     const struct diagnostics *found)
{
    size_t n = 0;
    struct json *list = json_new_list();
    for (int kind = 0; kind < DIAGNOSTIC_KINDS; kind++)
        for (size_t i = 0; i < found->n && n < PACK_REPORT_MAX_DIAGNOSTICS; i++)
            if ((int)found->list[i].kind == kind) {
                json_add(list, diagnostic_json(p, &found->list[i]));
                n++;
            }
    return list;
}

char *pack_report_json(const struct pack *p, int split,
                       const struct diagnostics *found)
{
    struct json *out = json_new_object(), *classes = json_new_object();
    struct json *counts = json_new_object();
    for (int c = 0; c < p->classes.n; c++)
        json_put_int(classes, p->classes.names[c],
                     (int64_t)pack_report_count_class_images(p, split, c));
    for (int k = 0; k < DIAGNOSTIC_KINDS; k++)
        json_put_int(
            counts, diagnostic_key((enum diagnostic_kind)k),
            (int64_t)diagnostics_count(found, (enum diagnostic_kind)k));
    json_put_int(out, "listed", (int64_t)p->dataset.splits[split].n);
    json_put_int(out, "excluded_by_mark",
                 (int64_t)p->dataset.splits[split].n_excluded);
    json_put_int(out, "packed", (int64_t)pack_report_count_images(p, split));
    json_put(out, "options", options_json(p, split));
    json_put(out, "pictures_by_class", classes);
    json_put(out, "found", counts);
    json_put(out, "findings", diagnostics_json(p, found));
    char *text = json_format(out, 1);
    json_free(out);
    return text;
}

/* ---- log ---- */

static void log_diagnostic(const struct diagnostic *d, bool is_error)
{
    if (is_error)
        log_error("%s:%d: %s", d->file, d->line, d->text);
    else
        log_warn("%s:%d: %s", d->file, d->line, d->text);
}

static void log_diagnostics_of_kind(const struct diagnostics *found,
                                    enum diagnostic_kind kind, bool is_error)
{
    size_t n = diagnostics_count(found, kind), n_logged = 0;
    for (size_t i = 0; i < found->n && (is_error || n_logged < MAX_LOGGED); i++)
        if (found->list[i].kind == kind) {
            log_diagnostic(&found->list[i], is_error);
            n_logged++;
        }
    if (n > n_logged)
        log_warn("%s: %zu in total (vocpack check lists them)",
                 diagnostic_text(kind), n);
}

void pack_report_log_diagnostics(const struct diagnostics *found, bool all_bad,
                                 bool all_empty)
{
    for (int k = 0; k < DIAGNOSTIC_KINDS; k++) {
        enum diagnostic_kind kind = (enum diagnostic_kind)k;
        bool stops = (all_bad && diagnostic_is_bad(kind)) ||
                     (all_empty && kind == DIAGNOSTIC_EMPTY);
        log_diagnostics_of_kind(found, kind, stops);
    }
}

void pack_report_log_summary(const struct pack *p, double seconds)
{
    size_t total = 0;
    for (int k = 0; k < p->dataset.n_splits; k++) {
        struct text classes = {0};
        size_t n = pack_report_count_images(p, k);
        total += n;
        for (int c = 0; c < p->classes.n; c++)
            text_add(&classes, "%s%s %zu", c ? ", " : "", p->classes.names[c],
                     pack_report_count_class_images(p, k, c));
        log_info("%s: %zu of %zu images, %d classes: %.3000s", p->folders[k], n,
                 p->dataset.splits[k].n, p->classes.n, classes.bytes);
        free(classes.bytes);
    }
    log_info("packed %zu images in %.1f s, %.0f images/s", total, seconds,
             (double)total / seconds);
}
