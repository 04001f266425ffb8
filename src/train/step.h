/*
 * One training step: this rank's replicas one after the other, their
 * gradients added along the reduction tree, the mean over all ranks, the
 * update.
 *
 * Ranges leave for the other ranks during the backward pass of the rank's
 * *last* replica: each is first added up the tree as far as this rank can,
 * collected into buckets of EXCHANGE_BUCKET_ELEMENTS elements, and queued. An
 * exchange that is not `in_step` gets them after that backward instead.
 */
#ifndef VOCDIST_TRAIN_STEP_H
#define VOCDIST_TRAIN_STEP_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "exchange/exchange.h"

/*
 * The last step: how long its phases took on this thread, and when things
 * happened beside backward (clock_now()). Of what is enqueued or recorded they
 * are the host's times of doing so, and zero in a step that was replayed; its
 * time is then in what is left of end - begin, where the host waits for
 * results.
 */
struct step_times {
    double begin, end;            /* the first wait for data; the update done */
    double forward_s, backward_s; /* of all replicas; additions in backward */
    double exchange_s;            /* exposed: backward_end to the last mean */
    double update_s;
    double last_backward;  /* the last replica's backward began ... */
    double first_exchange; /* ... the first range left ... */
    double backward_end;   /* ... its last range was computed. */
};

struct step {
    struct comm *comm;
    struct backend *backend;
    struct net *net;
    const struct graph *graph;
    struct exchange exchange;
    int replicas;
    struct reduction_plan plan; /* of this rank's replicas */
    struct buf *buffers;        /* [plan.n_buffers], owned */
    struct buf **partials;      /* [plan.n_partials], owned array */
    struct range bucket;        /* computed, not yet queued */
    int local_replica;          /* which of this rank's replicas is at work */
    struct range *sent;         /* [n_sent] as queued in the last step, owned */
    int n_sent;
    struct step_times times;
};

/* Local: plan and buffers. `net` (NET_TRAIN) and the others are borrowed until
 * close. */
enum vd_err step_init(struct step *s, struct comm *comm,
                      struct backend *backend, struct net *net,
                      const struct graph *graph, int replicas) VD_MUST_USE;
/* Collective: opens the exchange of that name. */
enum vd_err step_open_exchange(struct step *s,
                               const char *exchange) VD_MUST_USE;
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

/*
 * Collective, for measuring: the last step's exchange alone, the same ranges
 * in the same order, of zeros; nothing but the exchange's buffers is changed.
 * Not of exchange none.
 */
enum vd_err step_time_exchange(struct step *s, double *seconds) VD_MUST_USE;

#endif
