/*
 * A progress line for long work. On a terminal it is redrawn in place;
 * elsewhere (in the log of a batch job) an info line is logged every
 * PROGRESS_EVERY_S seconds. With `silent` nothing is shown: callers set it
 * below log level info and on ranks > 0. Local; used by one thread.
 */
#ifndef VOCDIST_BASE_PROGRESS_H
#define VOCDIST_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#define PROGRESS_EVERY_S 10.0

struct progress {
    const char *what;    /* borrowed: "packing" */
    size_t first, total; /* done before progress_start(), and in total */
    bool terminal, silent;
    double started, last_shown; /* clock_now() */
};

void progress_start(struct progress *p, const char *what, size_t first,
                    size_t total, bool silent);
/* Shows `done` of total, the rate, the time left and `note` (may be NULL). */
void progress_show(struct progress *p, size_t done, const char *note);
/* Clears the line; the caller logs the result. */
void progress_end(struct progress *p);

#endif
