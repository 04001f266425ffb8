/*
 * Settings that reduce the memory use of the current run, as the remedy of
 * out-of-memory messages (base/memory.h). Local.
 */
#ifndef VOCDIST_CONFIG_MEMORY_HINTS_H
#define VOCDIST_CONFIG_MEMORY_HINTS_H

#include "config/batch.h"

#include <stdint.h>

/* The settings in use. A field that is 0, or at its minimum, gives no hint. */
struct memory_hints {
    struct batch_plan batch; /* micro_batch 0: fixed (a resumed run) */
    int64_t eval_batch;
    int compute_threads; /* if each thread has its own network */
    int loader_threads;
    int node_ranks; /* ranks on this host */
};

/* Passes the hints to memory_set_oom_hint(). */
void memory_hints_set(const struct memory_hints *hints);

#endif
