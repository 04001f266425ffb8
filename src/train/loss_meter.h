/*
 * Training losses: the sums of each epoch, and one row per step in steps.jsonl.
 *
 * Each rank buffers the losses of its own images for `capacity` steps. A flush
 * gathers them on rank 0, which adds them in double precision in the order of
 * positions, so the sums are equal at any rank count. A step may contain images
 * of two epochs; those of the next epoch have a sum of their own. Box losses
 * are in pixels, class losses in nats. Means are over the images with a finite
 * loss: in fp16, a step that was skipped may have others.
 */
#ifndef VOCDIST_TRAIN_LOSS_METER_H
#define VOCDIST_TRAIN_LOSS_METER_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "data/sampler.h"
#include "data/shard.h"
#include "run/append_file.h"
#include "run/train_state.h"

/* A step without its losses. */
struct step_stats {
    uint64_t step; /* from 1 */
    double lr;
    double grad_norm;  /* not finite if the step was skipped */
    double loss_scale; /* 0: no loss scaling */
    double seconds;    /* of the whole step, with waited_s */
    double waited_s;   /* for prefetched data */
    double device_s;   /* update_result.seconds */
};

struct loss_meter {
    /* set by the caller before loss_meter_init(); pointers are borrowed */
    struct comm *comm;
    const struct shard_set *data;
    const struct graph_loss *loss;
    struct sampler sampler;
    struct append_file *steps_jsonl; /* rank 0 */
    int replicas, micro_batch;       /* of the run */

    int n_local; /* images of this rank in a step */
    /* not yet flushed */
    int capacity, n_steps;
    struct step_stats *steps; /* [capacity], owned */
    float *losses;            /* [capacity, n_local, 2]: l1, ce; owned */
    /* sums of epoch `epoch` (from 0) and of the one after it, on rank 0; the
     * caller may set both before the first step, to resume */
    uint64_t epoch;
    struct loss_sums sums[2];
};

/* Local: allocates buffers for `capacity` steps between flushes. */
void loss_meter_init(struct loss_meter *m, int capacity);
/* Local. May be a zeroed one. */
void loss_meter_clear(struct loss_meter *m);
/* Local: buffers a step; `results` is [n_local]. True if the buffer is full:
 * all ranks must flush before the next step. */
bool loss_meter_add(struct loss_meter *m, const struct step_stats *step,
                    const struct result *results);
/* Collective: on rank 0, adds the buffered steps to the sums and writes their
 * rows. An error of writing (append_file_printf()) is rank 0's alone. */
enum vd_err loss_meter_flush(struct loss_meter *m) VD_MUST_USE;
/* Local, after a flush: ends the epoch and returns its sums, which are valid on
 * rank 0 only; those of the next epoch become the first. */
struct loss_sums loss_meter_end_epoch(struct loss_meter *m);

#endif
