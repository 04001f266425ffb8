#include "preprocess/diagnostics.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kind {
    const char *key, *text;
    bool is_bad;
};

#define KIND(name, key, text, bad) [name] = {key, text, bad},
static const struct kind kinds[DIAGNOSTIC_KINDS] = {DIAGNOSTIC_MAP(KIND)};
#undef KIND

const char *diagnostic_key(enum diagnostic_kind kind)
{
    return kinds[kind].key;
}

const char *diagnostic_text(enum diagnostic_kind kind)
{
    return kinds[kind].text;
}

bool diagnostic_is_bad(enum diagnostic_kind kind)
{
    return kinds[kind].is_bad;
}

static struct diagnostic *append_diagnostic(struct diagnostics *f)
{
    if ((f->n & (f->n - 1)) == 0)
        f->list = xreallocarray(f->list, f->n ? 2 * f->n : 1, sizeof *f->list);
    return &f->list[f->n++];
}

void diagnostics_add(struct diagnostics *f, enum diagnostic_kind kind,
                     const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = xvasprintf(format, args);
    va_end(args);
    *append_diagnostic(f) =
        (struct diagnostic){kind, xstrdup(file), line, text};
}

void diagnostics_add_all(struct diagnostics *to, const struct diagnostics *from)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct diagnostic *f = &from->list[i];
        diagnostics_add(to, f->kind, f->file, f->line, "%s", f->text);
    }
}

void diagnostics_clear(struct diagnostics *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->list[i].file);
        free(f->list[i].text);
    }
    free(f->list);
    *f = (struct diagnostics){0};
}

size_t diagnostics_count(const struct diagnostics *f, enum diagnostic_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += f->list[i].kind == kind;
    return n;
}

size_t diagnostics_count_bad(const struct diagnostics *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += diagnostic_is_bad(f->list[i].kind);
    return n;
}

/* A log sink. From "FILE:12: cause\nremedy" it takes the line and the text;
 * the diagnostic is one line. */
static void capture_message(void *ctx, enum log_level level,
                            const char *message)
{
    struct diagnostics_capture *c = ctx;
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
    diagnostics_add(c->to, c->kind, c->file, line, "%s", message);
    char *newline = c->to->list[c->to->n - 1].text;
    while ((newline = strchr(newline, '\n')))
        *newline = ' ';
}

void diagnostics_capture_start(struct diagnostics_capture *c)
{
    c->previous = log_swap_sink((struct log_sink){capture_message, c});
}

void diagnostics_capture_end(struct diagnostics_capture *c)
{
    (void)log_swap_sink(c->previous);
}
