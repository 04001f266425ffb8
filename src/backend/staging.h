/*
 * The staging buffers of a net (double buffering), for backends that compute in
 * host memory: one thread stages batch k + 1 while another computes on batch k.
 * A buffer is in use from staging_push() to staging_release(). Local.
 */
#ifndef VOCDIST_BACKEND_STAGING_H
#define VOCDIST_BACKEND_STAGING_H

#include "backend/backend.h"

#include <pthread.h>

#define STAGING_DEPTH 2

/* One staged batch. */
struct staged_batch {
    struct batch_item *items; /* [micro_batch], owned copy */
    void *input;              /* [micro_batch] prepared images, owned */
    struct step_scalars scalars;
};

/* A ring: batch k (0, 1, ...) is in batches[k % STAGING_DEPTH]. Invariant:
 * n_released <= n_taken <= n_staged <= n_released + STAGING_DEPTH. */
struct staging {
    struct staged_batch batches[STAGING_DEPTH];
    const struct net_spec *spec;            /* borrowed */
    size_t image_bytes;                     /* size of a prepared image */
    uint64_t n_staged, n_taken, n_released; /* under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t batch_released;
};

/* Prepares a stored image (not a padding item's) as an input of the net. */
typedef void staging_prepare_fn(const struct net_spec *spec,
                                const struct batch_item *item,
                                const uint8_t *pixels, void *input);

/* Also after an error the caller calls staging_clear(). */
enum vd_err staging_init(struct staging *p, const struct net_spec *spec,
                         size_t image_bytes) VD_MUST_USE;
void staging_clear(struct staging *p);

/* Implements backend_ops.stage: blocks until a buffer is free. A padding item
 * becomes an input of zeros. */
void staging_push(struct staging *p, const struct batch *batch,
                  staging_prepare_fn *prepare);
/* Releases the current batch if it was not, and takes the oldest staged batch
 * that was not taken yet; asserts that there is one. staging_current() returns
 * that batch until it is released: staging_push() may then overwrite it. */
void staging_take(struct staging *p);
struct staged_batch *staging_current(struct staging *p);
/* The current batch has been read. May be called once more than necessary. */
void staging_release(struct staging *p);

#endif
