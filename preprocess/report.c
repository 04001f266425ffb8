#include "preprocess/report.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOLD 5

struct shard_format report_format(const struct pack *p)
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

void report_add_label(struct text *out, const struct classes *classes,
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

size_t report_pictures(const struct pack *p, int split)
{
    size_t n = 0;
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].split == split)
            n += p->outcomes[j].n_images;
    return n;
}

size_t report_class_pictures(const struct pack *p, int split, int class)
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
    json_put_text(out, "split", p->tree.splits[split].name);
    json_put_int(out, "size", o->size);
    json_put_text(out, "classes", *o->classes ? "from a file" : "collected");
    json_put_text(out, "empty",
                  o->empty == PACK_EMPTY_ERROR ? "error" : "skip");
    json_put_text(out, "skip_bad", o->skip_bad ? "yes" : "no");
    json_put_int(out, "shard_mib", o->shard_mib);
    return out;
}

static struct json *finding_json(const struct pack *p, const struct finding *f)
{
    struct json *out = json_new_object();
    char *file = tree_relative(&p->tree, f->file);
    json_put_text(out, "kind", finding_key(f->kind));
    json_put_text(out, "file", file);
    json_put_int(out, "line", f->line);
    json_put_text(out, "text", f->text);
    free(file);
    return out;
}

/* By kind, the gravest first, so that the limit leaves out the mildest. */
static struct json *findings_json(const struct pack *p,
                                  const struct findings *found)
{
    size_t n = 0;
    struct json *list = json_new_list();
    for (int kind = 0; kind < FINDING_KINDS; kind++)
        for (size_t i = 0; i < found->n && n < REPORT_MAX_FINDINGS; i++)
            if ((int)found->list[i].kind == kind) {
                json_add(list, finding_json(p, &found->list[i]));
                n++;
            }
    return list;
}

char *report_json(const struct pack *p, int split, const struct findings *found)
{
    struct json *out = json_new_object(), *classes = json_new_object();
    struct json *counts = json_new_object();
    for (int c = 0; c < p->classes.n; c++)
        json_put_int(classes, p->classes.names[c],
                     (int64_t)report_class_pictures(p, split, c));
    for (int k = 0; k < FINDING_KINDS; k++)
        json_put_int(counts, finding_key((enum finding_kind)k),
                     (int64_t)findings_count(found, (enum finding_kind)k));
    json_put_int(out, "listed", (int64_t)p->tree.splits[split].n);
    json_put_int(out, "excluded_by_mark",
                 (int64_t)p->tree.splits[split].n_excluded);
    json_put_int(out, "packed", (int64_t)report_pictures(p, split));
    json_put(out, "options", options_json(p, split));
    json_put(out, "pictures_by_class", classes);
    json_put(out, "found", counts);
    json_put(out, "findings", findings_json(p, found));
    char *text = json_format(out, 1);
    json_free(out);
    return text;
}

/* ---- terminal ---- */

static void log_finding(const struct finding *f, bool is_error)
{
    if (is_error)
        log_error("%s:%d: %s", f->file, f->line, f->text);
    else
        log_warn("%s:%d: %s", f->file, f->line, f->text);
}

static void log_kind(const struct findings *found, enum finding_kind kind,
                     bool is_error)
{
    size_t n = findings_count(found, kind), told = 0;
    for (size_t i = 0; i < found->n && (is_error || told < MAX_TOLD); i++)
        if (found->list[i].kind == kind) {
            log_finding(&found->list[i], is_error);
            told++;
        }
    if (n > told)
        log_warn("%s: %zu in all (vocpack check lists them)",
                 finding_text(kind), n);
}

void report_log_findings(const struct findings *found, bool all_bad,
                         bool all_empty)
{
    for (int k = 0; k < FINDING_KINDS; k++) {
        enum finding_kind kind = (enum finding_kind)k;
        bool stops = (all_bad && finding_is_bad(kind)) ||
                     (all_empty && kind == FINDING_EMPTY);
        log_kind(found, kind, stops);
    }
}

void report_log_summary(const struct pack *p, double seconds)
{
    size_t total = 0;
    for (int k = 0; k < p->tree.n_splits; k++) {
        struct text classes = {0};
        size_t n = report_pictures(p, k);
        total += n;
        for (int c = 0; c < p->classes.n; c++)
            text_add(&classes, "%s%s %zu", c ? ", " : "", p->classes.names[c],
                     report_class_pictures(p, k, c));
        log_info("%s: %zu of %zu pictures, %d classes: %.3000s", p->folders[k],
                 n, p->tree.splits[k].n, p->classes.n, classes.bytes);
        free(classes.bytes);
    }
    log_info("packed %zu pictures in %.1f s, %.0f pictures/s", total, seconds,
             (double)total / seconds);
}
