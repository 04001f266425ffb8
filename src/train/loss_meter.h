/*
 * Training losses: the sums of each epoch, and one row per step in steps.jsonl.
 *
 * Each rank buffers the losses of its own images for some steps. A flush
 * gathers them on rank 0, which adds them in double precision in the order of
 * positions, so the sums are equal at any rank count. A step may contain images
 * of two epochs; those of the next epoch have a sum of their own.
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
    double lr, grad_norm, seconds;
    double waited_s; /* for prefetched data */
};

struct loss_meter {
    struct comm *comm;
    const struct shard_set *data;
    const struct graph_loss *loss;
    struct sampler sampler;
    struct append_file *steps_jsonl; /* rank 0; borrowed */
    int replicas, micro_batch;
    int n_local; /* images of this rank in a step */
    /* not yet flushed */
    int capacity, n_steps;
    struct step_stats *steps; /* [capacity], owned */
    float *losses;            /* [capacity, n_local, 2]: l1, ce; owned */
    /* rank 0 only: epoch `epoch` (from 0) and the one after it */
    uint64_t epoch;
    struct loss_sums sums[2];
};

/* `capacity`: steps between flushes. Local. */
void loss_meter_init(struct loss_meter *m, int capacity);
void loss_meter_clear(struct loss_meter *m);
/* Local. True when a flush is due. */
bool loss_meter_add(struct loss_meter *m, const struct step_stats *step,
                    const struct result *results);
/* Collective: sums and rows of the buffered steps. */
enum vd_err loss_meter_flush(struct loss_meter *m) VD_MUST_USE;
/* Ends the epoch: returns its sums; those of the next one become the first.
 * Local. */
struct loss_sums loss_meter_end_epoch(struct loss_meter *m);

#endif
