/*
 * FIFO queues of the results of forwards and updates that were not read yet,
 * for backends that compute in host memory. Local; one thread at a time.
 */
#ifndef VOCDIST_BACKEND_RESULT_QUEUE_H
#define VOCDIST_BACKEND_RESULT_QUEUE_H

#include "backend/backend.h"

/* Two rings of `capacity` entries: forward k (0, 1, ...) is in entry
 * k % capacity of the first, update k in that of the second. */
struct result_queue {
    int capacity, micro_batch;
    struct result *results;        /* [capacity, micro_batch], owned */
    struct update_result *updates; /* [capacity], owned */
    uint64_t n_forwards, n_forwards_read;
    uint64_t n_updates, n_updates_read;
};

void result_queue_init(struct result_queue *q, const struct net_spec *spec);
void result_queue_clear(struct result_queue *q);

/* Adds a forward; returns its results [micro_batch], zeroed, for the caller to
 * fill. Asserts that at most spec.max_unread are unread. */
struct result *result_queue_push(struct result_queue *q);
void result_queue_push_update(struct result_queue *q,
                              struct update_result update);
/* Reads the oldest unread one; asserts that there is one. */
void result_queue_pop(struct result_queue *q, struct result *out);
void result_queue_pop_update(struct result_queue *q, struct update_result *out);

#endif
