/*
 * One line that tells how far a long piece of work is. On a terminal it is
 * redrawn in place; elsewhere (a batch job's log) a plain line comes every
 * `PROGRESS_EVERY_S` seconds. Silent below log level info and on ranks > 0.
 * Local; used by one thread.
 */
#ifndef VOCDIST_BASE_PROGRESS_H
#define VOCDIST_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#define PROGRESS_EVERY_S 10.0

struct progress {
    const char *what;    /* borrowed: "packing" */
    size_t first, total; /* done before this start, and in all */
    bool terminal, silent;
    double started, last_shown; /* clock_now() */
};

void progress_start(struct progress *p, const char *what, size_t first,
                    size_t total, bool silent);
/* `done` of total; `note` (may be NULL) follows rate and time left. */
void progress_show(struct progress *p, size_t done, const char *note);
/* Clears the line; what was achieved is the caller's to log. */
void progress_end(struct progress *p);

#endif
