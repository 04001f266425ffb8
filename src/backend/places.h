/*
 * The places that batches of a net are staged in, for backends that compute
 * in host memory: one thread stages batch k + 1 while another computes on
 * batch k. A place is taken from its stage to its results. Local.
 */
#ifndef VOCDIST_BACKEND_PLACES_H
#define VOCDIST_BACKEND_PLACES_H

#include "backend/backend.h"

#include <pthread.h>

#define PLACES 2

/* One staged batch. */
struct place {
    struct slot *slots; /* [micro_batch], owned copy */
    void *input;        /* [micro_batch] prepared pictures, owned */
    struct knobs knobs;
    struct result *results; /* [micro_batch], owned */
};

/* Batches so far are counted; batch k is in place k modulo PLACES. */
struct places {
    struct place list[PLACES];
    const struct net_spec *spec;         /* borrowed */
    size_t picture_bytes;                /* of a prepared picture */
    uint64_t staged, forwarded, fetched; /* under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t released;
};

/* Prepares a stored picture (not a padding slot's) as an input of the net. */
typedef void places_fill_fn(const struct net_spec *spec,
                            const struct slot *slot, const uint8_t *pixels,
                            void *input);

/* May be cleared whatever it returns. */
enum vd_err places_init(struct places *p, const struct net_spec *spec,
                        size_t picture_bytes) VD_MUST_USE;
void places_clear(struct places *p);

/* As backend_ops.stage: waits for a free place. Padding becomes zeros. */
void places_stage(struct places *p, const struct batch *batch,
                  places_fill_fn *fill);
/* The oldest staged batch that was not taken yet; that there is none is our
 * bug. Until the next call places_now() is its place. */
void places_forward(struct places *p);
struct place *places_now(struct places *p);
/* As backend_ops.results: of the oldest batch taken; releases its place. */
void places_results(struct places *p, struct result *out);

#endif
