#include "preprocess/report.h"

#include "base/log.h"
#include "base/mem.h"

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
        .source = p->tree.roots[0].label,
    };
}

/* ---- labels.csv ---- */

static void add_csv_text(struct text *out, const char *value)
{
    if (!value[strcspn(value, ",\"\r\n")]) {
        text_add(out, "%s", value);
        return;
    }
    text_add(out, "\"");
    for (; *value; value++)
        text_add(out, *value == '"' ? "\"\"" : "%c", *value);
    text_add(out, "\"");
}

void report_add_label(struct text *out, const struct classes *classes,
                      const struct shard_sample *sample)
{
    const float *b = sample->box;
    add_csv_text(out, sample->id);
    text_add(out, ",");
    add_csv_text(out, classes->names[sample->class]);
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

static void add_json_text(struct text *out, const char *value)
{
    text_add(out, "\"");
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\')
            text_add(out, "\\%c", c);
        else if (c < 0x20)
            text_add(out, "\\u%04x", c);
        else
            text_add_bytes(out, value, 1);
    }
    text_add(out, "\"");
}

static void add_options(const struct pack *p, int split, struct text *out)
{
    const struct pack_options *o = p->options;
    text_add(out, "\"options\": {\"split\": ");
    add_json_text(out, p->tree.splits[split].name);
    text_add(out,
             ", \"size\": %lld, \"classes\": \"%s\", \"empty\": \"%s\", "
             "\"skip_bad\": %s, \"shard_size\": %lld}",
             (long long)o->size, *o->classes ? "from a file" : "collected",
             o->empty == PACK_EMPTY_ERROR ? "error" : "skip",
             o->skip_bad ? "true" : "false", (long long)o->shard_mib);
}

static void add_finding(const struct pack *p, const struct finding *f,
                        struct text *out)
{
    char *file = tree_relative(&p->tree, f->file);
    text_add(out, "{\"kind\": \"%s\", \"file\": ", finding_key(f->kind));
    add_json_text(out, file);
    text_add(out, ", \"line\": %d, \"text\": ", f->line);
    add_json_text(out, f->text);
    text_add(out, "}");
    free(file);
}

/* By kind, the gravest first, so that the limit leaves out the mildest. */
static void add_findings(const struct pack *p, const struct findings *found,
                         struct text *out)
{
    size_t n = 0;
    text_add(out, "\"findings\": [");
    for (int kind = 0; kind < FINDING_KINDS; kind++)
        for (size_t i = 0; i < found->n && n < REPORT_MAX_FINDINGS; i++) {
            if ((int)found->list[i].kind != kind)
                continue;
            text_add(out, n++ ? ",\n  " : "\n  ");
            add_finding(p, &found->list[i], out);
        }
    text_add(out, "], \"findings_left_out\": %zu", found->n - n);
}

char *report_json(const struct pack *p, int split, const struct findings *found)
{
    struct text out = {0};
    text_add(&out, "{\"pictures\": %zu, \"listed\": %zu,\n",
             report_pictures(p, split), p->tree.splits[split].n);
    add_options(p, split, &out);
    text_add(&out, ",\n\"pictures_by_class\": {");
    for (int c = 0; c < p->classes.n; c++) {
        text_add(&out, c ? ", " : "");
        add_json_text(&out, p->classes.names[c]);
        text_add(&out, ": %zu", report_class_pictures(p, split, c));
    }
    text_add(&out, "},\n\"found\": {");
    for (int k = 0; k < FINDING_KINDS; k++)
        text_add(&out, "%s\"%s\": %zu", k ? ", " : "",
                 finding_key((enum finding_kind)k),
                 findings_count(found, (enum finding_kind)k));
    text_add(&out, "},\n");
    add_findings(p, found, &out);
    text_add(&out, "}");
    return out.bytes;
}

/* ---- terminal ---- */

static void log_finding(const struct finding *f, bool is_error)
{
    char *line = f->line ? mem_format(":%d", f->line) : mem_copy_text("");
    if (is_error)
        log_error("%s%s: %s", f->file, line, f->text);
    else
        log_warn("%s%s: %s", f->file, line, f->text);
    free(line);
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
        log_warn("%s: %zu in all (pack.json lists them)", finding_text(kind),
                 n);
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
