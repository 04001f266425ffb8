/*
 * Which settings make a process need less memory: the remedy of an
 * out-of-memory message (base/memory.h), for the run at hand. Local.
 */
#ifndef VOCDIST_CONFIG_MEMORY_HINTS_H
#define VOCDIST_CONFIG_MEMORY_HINTS_H

#include "config/batch.h"

#include <stdint.h>

/* The settings in use. A field that is 0, or at its minimum, gives no hint. */
struct memory_hints {
    struct batch_plan batch; /* micro_batch 0: fixed, the run is resumed */
    int64_t eval_batch;
    int compute_threads; /* where each thread has a network of its own */
    int loader_threads;
    int node_ranks; /* ranks on this host */
};

/* Hands the hints to memory_set_oom_hint(). */
void memory_hints_set(const struct memory_hints *hints);

#endif
