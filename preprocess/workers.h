/*
 * An ordered worker pool (base/worker_pool.h) whose items are produced by
 * threads and consumed by the caller, one by one in order. Local.
 */
#ifndef VOCDIST_PREPROCESS_WORKERS_H
#define VOCDIST_PREPROCESS_WORKERS_H

#include "base/err.h"

#include <stddef.h>

struct workers {
    int n_threads;
    size_t n_items, n_slots; /* item i is in slot i % n_slots */
    /* Called on some thread. Failures are part of the item. */
    void (*produce)(void *ctx, size_t item, size_t slot);
    /* Called on the calling thread, in order; the first error stops the pool.
     * May be NULL. */
    enum vd_err (*consume)(void *ctx, size_t item, size_t slot);
    void *ctx; /* borrowed */
};

/* The first error of consume, or VD_SYSTEM if no thread can be started. */
enum vd_err workers_run(const struct workers *w) VD_MUST_USE;

/* Number of cores that this process may use. */
int workers_cores(void);

#endif
