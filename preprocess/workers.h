/*
 * Threads that produce items 0..n-1 in any order, which the caller consumes
 * one by one in order: the result does not depend on the number of threads.
 *
 * Items travel in slots; item i uses slot i % n_slots, and is not begun before
 * the slot's former item was consumed. Local.
 */
#ifndef VOCDIST_PREPROCESS_WORKERS_H
#define VOCDIST_PREPROCESS_WORKERS_H

#include "base/err.h"

#include <stddef.h>

struct workers {
    int n_threads;
    size_t n_items, n_slots;
    /* On some thread. Failures are part of the item. */
    void (*produce)(void *ctx, size_t item, size_t slot);
    /* On the calling thread, in order; an error ends the run. May be NULL. */
    enum vd_err (*consume)(void *ctx, size_t item, size_t slot);
    void *ctx; /* borrowed */
};

/* The first error of consume, or VD_SYSTEM when no thread can be started. */
enum vd_err workers_run(const struct workers *w) VD_MUST_USE;

/* Cores this process may use. */
int workers_cores(void);

#endif
