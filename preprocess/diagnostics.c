#include "preprocess/diagnostics.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct diagnostic_info {
    const char *key, *text;
    bool is_bad;
} infos[DIAGNOSTIC_KINDS] = {
#define DIAGNOSTIC_INFO(name, key, text, bad) [name] = {key, text, bad},
    DIAGNOSTIC_MAP(DIAGNOSTIC_INFO)
#undef DIAGNOSTIC_INFO
};

const char *diagnostic_key(enum diagnostic_kind kind)
{
    return infos[kind].key;
}

const char *diagnostic_text(enum diagnostic_kind kind)
{
    return infos[kind].text;
}

bool diagnostic_is_bad(enum diagnostic_kind kind)
{
    return infos[kind].is_bad;
}

static struct diagnostic *append_diagnostic(struct diagnostics *d)
{
    if ((d->n & (d->n - 1)) == 0)
        d->list = xreallocarray(d->list, d->n ? 2 * d->n : 1, sizeof *d->list);
    return &d->list[d->n++];
}

void diagnostics_add(struct diagnostics *d, enum diagnostic_kind kind,
                     const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = xvasprintf(format, args);
    va_end(args);
    *append_diagnostic(d) =
        (struct diagnostic){kind, xstrdup(file), line, text};
}

void diagnostics_add_all(struct diagnostics *to, const struct diagnostics *from)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct diagnostic *d = &from->list[i];
        diagnostics_add(to, d->kind, d->file, d->line, "%s", d->text);
    }
}

void diagnostics_clear(struct diagnostics *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->list[i].file);
        free(d->list[i].text);
    }
    free(d->list);
    *d = (struct diagnostics){0};
}

size_t diagnostics_count(const struct diagnostics *d, enum diagnostic_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += d->list[i].kind == kind;
    return n;
}

size_t diagnostics_count_bad(const struct diagnostics *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += diagnostic_is_bad(d->list[i].kind);
    return n;
}

/* A log sink. Takes line number and text from "FILE:12: cause\nremedy", and
 * joins the text to one line. */
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
