#include "preprocess/findings.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kind {
    const char *key, *text;
    bool is_bad;
};

#define KIND(name, key, text, bad) [name] = {key, text, bad},
static const struct kind kinds[FINDING_KINDS] = {FINDING_MAP(KIND)};
#undef KIND

const char *finding_key(enum finding_kind kind)
{
    return kinds[kind].key;
}

const char *finding_text(enum finding_kind kind)
{
    return kinds[kind].text;
}

bool finding_is_bad(enum finding_kind kind)
{
    return kinds[kind].is_bad;
}

static struct finding *add_one(struct findings *f)
{
    if ((f->n & (f->n - 1)) == 0)
        f->list = mem_grow(f->list, f->n ? 2 * f->n : 1, sizeof *f->list);
    return &f->list[f->n++];
}

void findings_add(struct findings *f, enum finding_kind kind, const char *file,
                  int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = mem_format_args(format, args);
    va_end(args);
    *add_one(f) = (struct finding){kind, mem_copy_text(file), line, text};
}

void findings_add_all(struct findings *to, const struct findings *from)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct finding *f = &from->list[i];
        findings_add(to, f->kind, f->file, f->line, "%s", f->text);
    }
}

void findings_clear(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->list[i].file);
        free(f->list[i].text);
    }
    free(f->list);
    *f = (struct findings){0};
}

size_t findings_count(const struct findings *f, enum finding_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += f->list[i].kind == kind;
    return n;
}

size_t findings_count_bad(const struct findings *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += finding_is_bad(f->list[i].kind);
    return n;
}

/* "FILE:12: cause\nremedy" of a message about FILE: its line and the rest. */
static void catch_message(void *ctx, enum log_level level, const char *message)
{
    struct findings_catch *c = ctx;
    size_t n = strlen(c->file);
    int line = 1;
    if (level != LOG_LEVEL_ERROR)
        return;
    if (!strncmp(message, c->file, n) && message[n] == ':') {
        int used = 0;
        message += n + 1;
        if (sscanf(message, "%d:%n", &line, &used) == 1 && used)
            message += used;
        else
            line = 1;
        message += *message == ' ';
    }
    findings_add(c->to, c->kind, c->file, line, "%s", message);
    char *newline = c->to->list[c->to->n - 1].text;
    while ((newline = strchr(newline, '\n')))
        *newline = ' ';
}

void findings_catch_start(struct findings_catch *c)
{
    c->before = log_swap_sink((struct log_sink){catch_message, c});
}

void findings_catch_end(struct findings_catch *c)
{
    (void)log_swap_sink(c->before);
}
