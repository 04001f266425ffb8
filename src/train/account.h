/*
 * What the steps cost and gave: losses of every picture, added up per epoch,
 * and one row per step in steps.jsonl.
 *
 * Each rank keeps the losses of its own pictures for some steps; a flush
 * brings them to rank 0, which attributes each to its picture's epoch and adds
 * them in double in position order: the sums are equal at any rank count. A
 * step may straddle two epochs; the next epoch's part waits in its own sum.
 */
#ifndef VOCDIST_TRAIN_ACCOUNT_H
#define VOCDIST_TRAIN_ACCOUNT_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "data/sampler.h"
#include "data/shard.h"
#include "report/series.h"

struct account_sum { /* over the pictures of one epoch */
    int64_t n;
    double l1, ce, loss;
};

struct account_step { /* what rank 0 knows of a step by itself */
    uint64_t step;    /* from 1 */
    double lr, grad_norm, seconds, waited_s;
};

struct account {
    struct comm *comm;
    const struct shard_set *data;
    const struct graph_loss *loss;
    struct sampler sampler;
    struct series *rows;               /* rank 0's steps.jsonl; borrowed */
    int replicas, micro_batch, n_mine; /* n_mine: my slots of a step */
    /* not yet flushed */
    int room, n_steps;
    struct account_step *steps; /* [room], owned */
    float *losses;              /* [room, n_mine, 2]: l1, ce; owned */
    /* rank 0 only: epoch `epoch` (from 0) and the one after it */
    uint64_t epoch;
    struct account_sum sums[2];
};

/* Room for `room` steps between flushes. Local. */
void account_init(struct account *a, int room);
void account_clear(struct account *a);
/* Local. True when a flush is due. */
bool account_add(struct account *a, const struct account_step *step,
                 const struct result *results);
/* Collective. */
enum vd_err account_flush(struct account *a) VD_MUST_USE;
/* The finished epoch's sum; its successor's becomes the first. Local. */
struct account_sum account_end_epoch(struct account *a);

#endif
