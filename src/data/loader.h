/*
 * Reads micro-batches ahead of their use. What is in micro-batch k comes from
 * a callback, so the order is the caller's; any number of threads read ahead,
 * and next() hands the micro-batches out in order, whatever the threads do.
 * Local.
 */
#ifndef VOCDIST_DATA_LOADER_H
#define VOCDIST_DATA_LOADER_H

#include "base/err.h"
#include "data/batch_item.h"
#include "data/shard.h"

/* Fills items [micro_batch] of micro-batch k, without padding; called from
 * loader threads. */
typedef void loader_fill_fn(void *ctx, size_t k, struct batch_item *items);

struct loader_spec {
    const struct shard_set *data; /* borrowed */
    size_t n_batches;
    int micro_batch;
    int threads;
    loader_fill_fn *fill;
    void *ctx; /* borrowed */
};

/* Images [micro_batch] of [H, W, 3]. */
struct loaded_batch {
    struct batch_item *items;
    uint8_t **pixels;
};

struct loader;
enum vd_err loader_new(struct loader **out,
                       const struct loader_spec *spec) VD_MUST_USE;
/* Waits for the next micro-batch, or says why it cannot be read (causes come
 * in the order of micro-batches, however early they were met). Borrowed until
 * loader_release(). */
enum vd_err loader_next(struct loader *l,
                        struct loaded_batch **out) VD_MUST_USE;
void loader_release(struct loader *l, struct loaded_batch *batch);
/* Wakes and ends all threads; NULL is fine. */
void loader_free(struct loader *l);

#endif
