#include "base/progress.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/stderr_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REDRAW_S 0.1

static bool can_redraw(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
}

void progress_start(struct progress *p, const char *what, size_t first,
                    size_t total, bool silent)
{
    double now = clock_now();
    *p = (struct progress){.what = what,
                           .first = first,
                           .total = total,
                           .terminal = can_redraw(),
                           .silent = silent,
                           .started = now,
                           .last_shown = now};
}

static void format_duration(char *out, size_t capacity, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s < 60)
        snprintf(out, capacity, "%ld s", s);
    else if (s < 3600)
        snprintf(out, capacity, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(out, capacity, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

static void redraw_line(const char *line)
{
    char text[300];
    int n = snprintf(text, sizeof text, "\r\033[K%s", line);
    stderr_write(text, (size_t)n, STDERR_TRANSIENT);
}

void progress_show(struct progress *p, size_t done, const char *note)
{
    double now = clock_now(), elapsed = now - p->started;
    double interval = p->terminal ? REDRAW_S : PROGRESS_EVERY_S;
    if (p->silent || now - p->last_shown < interval || done <= p->first)
        return;
    p->last_shown = now;

    char left[32], line[256];
    double rate = (double)(done - p->first) / elapsed;
    format_duration(left, sizeof left, (double)(p->total - done) / rate);
    snprintf(line, sizeof line, "%s %zu of %zu, %.1f/s, %s left%s%s", p->what,
             done, p->total, rate, left, note ? ", " : "", note ? note : "");
    if (p->terminal)
        redraw_line(line);
    else
        log_info("%s", line);
}

void progress_end(struct progress *p)
{
    if (p->terminal && !p->silent)
        redraw_line("");
}
