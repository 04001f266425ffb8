/*
 * Prefetching of training data: a thread takes micro-batches from the loader in
 * order and stages each with the scalars of its step, so the next input is
 * prepared while the device computes. All functions are Local; one thread
 * consumes.
 *
 * Micro-batch k belongs to step first_step + k / n_replicas and replica
 * first_replica + k mod n_replicas. Replica r of step s has the positions
 * s x global_batch + [r x micro_batch, (r + 1) x micro_batch); with
 * `repeat_first_batch`, those of step first_step.
 */
#ifndef VOCDIST_TRAIN_PREFETCH_H
#define VOCDIST_TRAIN_PREFETCH_H

#include "backend/backend.h"
#include "data/augment.h"
#include "data/sampler.h"
#include "data/shard.h"
#include "train/schedule.h"

/* Pointers are borrowed until prefetch_free(). */
struct prefetch_spec {
    const struct shard_set *data;
    struct sampler sampler;
    struct augment augment;
    struct schedule schedule;
    double backbone_lr_mult;
    uint64_t seed;
    int micro_batch, replicas;      /* of the run */
    int first_replica, n_replicas;  /* of this rank */
    uint64_t first_step, last_step; /* [first, last), from 0 */
    bool repeat_first_batch;        /* each step gets the images of the first */
    int loader_threads;
    int rank; /* for injected faults: a NaN at site step */
    struct backend *backend;
    struct net *net;
};

struct prefetch;
/* Copies the spec and starts the threads. The caller frees *out. */
enum vd_err prefetch_new(struct prefetch **out,
                         const struct prefetch_spec *spec) VD_MUST_USE;
/* Takes the next micro-batch if it is staged; *taken: it was. Does not wait.
 * Returns the error of loading or staging it. */
enum vd_err prefetch_take(struct prefetch *p, bool *taken) VD_MUST_USE;
/* Seconds spent staging all micro-batches taken so far. */
double prefetch_staged_s(const struct prefetch *p);
/* Stops and joins the threads, at any time; waits for the device if that still
 * reads a staged batch. May be NULL. */
void prefetch_free(struct prefetch *p);

/* The step scalars of a step (from 0), as the prefetch thread stages them. */
struct step_scalars prefetch_step_scalars(const struct prefetch_spec *spec,
                                          uint64_t step);
/* Fills the items of micro-batch k; a loader_fill_fn whose `ctx` is the
 * prefetch_spec. */
void prefetch_fill(void *ctx, size_t k, struct batch_item *items);
/* The position of micro-batch k's first item. */
uint64_t prefetch_position(const struct prefetch_spec *spec, size_t k);

#endif
