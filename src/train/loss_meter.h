/*
 * What the steps cost and gave: losses of every image, added up per epoch,
 * and one row per step in steps.jsonl.
 *
 * Each rank keeps the losses of its own images for some steps; a flush
 * brings them to rank 0, which attributes each to its image's epoch and adds
 * them in double in position order: the sums are equal at any rank count. A
 * step may straddle two epochs; the next epoch's part waits in its own sum.
 */
#ifndef VOCDIST_TRAIN_LOSS_METER_H
#define VOCDIST_TRAIN_LOSS_METER_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "data/sampler.h"
#include "data/shard.h"
#include "report/append_file.h"

struct loss_sums { /* over the images of one epoch */
    int64_t n;
    double l1, ce, loss;
};

struct step_stats { /* what rank 0 knows of a step by itself */
    uint64_t step;  /* from 1 */
    double lr, grad_norm, seconds, waited_s;
};

struct loss_meter {
    struct comm *comm;
    const struct shard_set *data;
    const struct graph_loss *loss;
    struct sampler sampler;
    struct append_file *steps_jsonl;    /* rank 0's steps.jsonl; borrowed */
    int replicas, micro_batch, n_local; /* n_local: my items of a step */
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
/* Collective. */
enum vd_err loss_meter_flush(struct loss_meter *m) VD_MUST_USE;
/* The finished epoch's sum; its successor's becomes the first. Local. */
struct loss_sums loss_meter_end_epoch(struct loss_meter *m);

#endif
