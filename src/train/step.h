/*
 * One training step: this rank's replicas one after the other, their
 * gradients added along the reduction tree, the mean over all ranks, the
 * update.
 *
 * Ranges leave for the other ranks during the backward pass of the rank's
 * *last* replica: each is first added up the tree as far as this rank can,
 * collected into buckets of EXCHANGE_BUCKET elements, and queued. An exchange
 * that is not `in_step` gets them after that backward instead.
 */
#ifndef VOCDIST_TRAIN_STEP_H
#define VOCDIST_TRAIN_STEP_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "exchange/exchange.h"

/* When things happened in the last step, clock_now(); those inside a recorded
 * step are those of the recording. */
struct step_times {
    double begin;          /* the first replica's forward */
    double last_backward;  /* the last replica's backward began ... */
    double first_exchange; /* ... the first range left ... */
    double backward_end;   /* ... its last range was computed ... */
    double settled;        /* ... all means had arrived ... */
    double end;            /* ... and the update was done. */
};

struct step {
    struct comm *comm;
    struct backend *backend;
    struct net *net;
    const struct graph *graph;
    struct exchange exchange;
    int replicas;
    struct tree_plan plan; /* of this rank's replicas */
    struct buf *buffers;   /* [plan.n_buffers], owned */
    struct buf **left;     /* [plan.n_left], owned array */
    struct range bucket;   /* computed, not yet queued */
    int leaf;              /* which of this rank's replicas is at work */
    struct step_times times;
};

/* Local: plan and buffers. `net` (NET_TRAIN) and the others are borrowed until
 * close. */
enum vd_err step_init(struct step *s, struct comm *comm,
                      struct backend *backend, struct net *net,
                      const struct graph *graph, int replicas) VD_MUST_USE;
/* Collective: opens the exchange of that name. */
enum vd_err step_connect(struct step *s, const char *exchange) VD_MUST_USE;
void step_close(struct step *s);

/*
 * Collective: one step on the next staged batches, one for each of this
 * rank's replicas; `wait` returns when one more is staged. `results` is
 * [replicas of this rank, micro_batch]. An error is this rank's own; it leaves
 * ranges behind that others wait for, so the caller ends the job.
 */
typedef enum vd_err step_wait_fn(void *ctx);
enum vd_err step_run(struct step *s, step_wait_fn *wait, void *ctx,
                     struct result *results, int micro_batch,
                     struct update_result *update) VD_MUST_USE;

#endif
