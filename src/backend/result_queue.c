#include "backend/result_queue.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

void result_queue_init(struct result_queue *q, const struct net_spec *spec)
{
    int capacity = spec->max_unread > 0 ? spec->max_unread : 1;
    *q = (struct result_queue){.capacity = capacity,
                               .micro_batch = spec->micro_batch};
    q->results = xcalloc((size_t)capacity * (size_t)spec->micro_batch,
                         sizeof *q->results);
    q->updates = xcalloc((size_t)capacity, sizeof *q->updates);
}

void result_queue_clear(struct result_queue *q)
{
    free(q->results);
    free(q->updates);
}

static size_t ring_index(const struct result_queue *q, uint64_t k)
{
    return (size_t)(k % (uint64_t)q->capacity);
}

static struct result *results_of(const struct result_queue *q, uint64_t k)
{
    return q->results + ring_index(q, k) * (size_t)q->micro_batch;
}

struct result *result_queue_push(struct result_queue *q)
{
    VD_ASSERT(q->n_forwards - q->n_forwards_read < (uint64_t)q->capacity);
    struct result *out = results_of(q, q->n_forwards++);
    memset(out, 0, (size_t)q->micro_batch * sizeof *out);
    return out;
}

void result_queue_push_update(struct result_queue *q,
                              struct update_result update)
{
    VD_ASSERT(q->n_updates - q->n_updates_read < (uint64_t)q->capacity);
    q->updates[ring_index(q, q->n_updates++)] = update;
}

void result_queue_pop(struct result_queue *q, struct result *out)
{
    VD_ASSERT(q->n_forwards_read < q->n_forwards);
    memcpy(out, results_of(q, q->n_forwards_read++),
           (size_t)q->micro_batch * sizeof *out);
}

void result_queue_pop_update(struct result_queue *q, struct update_result *out)
{
    VD_ASSERT(q->n_updates_read < q->n_updates);
    *out = q->updates[ring_index(q, q->n_updates_read++)];
}
