/*
 * Prefetches micro-batches from disk. A callback defines the samples of
 * micro-batch k, so the caller defines the order. Any number of threads read
 * in parallel; loader_next() returns the micro-batches in order, 0, 1, ...,
 * independent of the threads' timing. Local.
 */
#ifndef VOCDIST_DATA_LOADER_H
#define VOCDIST_DATA_LOADER_H

#include "base/err.h"
#include "data/batch_item.h"
#include "data/shard.h"

/* Fills items [micro_batch] of micro-batch k; no padding items. Called from
 * several loader threads at once. */
typedef void loader_fill_fn(void *ctx, size_t k, struct batch_item *items);

struct loader_spec {
    const struct shard_set *data; /* borrowed */
    size_t n_batches;
    int micro_batch;
    int threads;
    loader_fill_fn *fill;
    void *ctx; /* borrowed */
};

/* items [micro_batch], and for each its pixels [H, W, 3], RGB. */
struct loaded_batch {
    struct batch_item *items;
    uint8_t **pixels;
};

struct loader;
/* Copies the spec and starts the threads. The caller frees *out. */
enum vd_err loader_new(struct loader **out,
                       const struct loader_spec *spec) VD_MUST_USE;
/* The memory of all images that loader_next() returns, one block, until
 * loader_free(). */
void *loader_memory(const struct loader *l, size_t *bytes);
/* Waits for the next micro-batch; `out` is borrowed until loader_release().
 * Fails if it cannot be read (shard_set_read()). Errors are returned in the
 * order of the micro-batches, even if a thread detects them earlier. */
enum vd_err loader_next(struct loader *l,
                        struct loaded_batch **out) VD_MUST_USE;
/* Call it in the order in which loader_next() returned the micro-batches. */
void loader_release(struct loader *l, struct loaded_batch *batch);
/* Stops and joins all threads, also before the last micro-batch. NULL is
 * allowed. */
void loader_free(struct loader *l);

#endif
