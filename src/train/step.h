/*
 * One training step: forward and backward of this rank's replicas one after the
 * other, addition of their gradients along the reduction tree, the mean over
 * all ranks, the update. step_launch() enqueues a step, step_collect() waits
 * for the oldest launched one and reads its results, so that a device computes
 * without a pause while the host is between steps.
 *
 * Gradients are sent to the other ranks during the backward pass of this rank's
 * last replica: first the batch statistics and the non-finite flag, then the
 * gradients in backward order, from the head to the stem. Each range is added
 * to the partial sums of the earlier replicas, collected into buckets of
 * `bucket_elements` elements, and enqueued. An exchange that is not `in_step`
 * gets all elements in ascending order after that backward pass.
 */
#ifndef VOCDIST_TRAIN_STEP_H
#define VOCDIST_TRAIN_STEP_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "exchange/exchange.h"

/*
 * Times on this thread: durations (_s) of the last launched step in seconds,
 * and clock_now() at events. On a host they are the times of the work. For work
 * that is only enqueued, a duration is the host's time of enqueueing it; in a
 * replayed step it is zero. The device's own time of a step is then
 * update_result.seconds, if the backend measures it.
 */
struct step_times {
    double begin, end; /* of the last step_launch(), of the last step_collect();
                          of one step unless steps are launched ahead */
    double forward_s, backward_s; /* of all replicas; additions in backward */
    double exchange_s;            /* exposed: backward_end to the last mean */
    double update_s;
    double last_backward;  /* start of the last replica's backward pass */
    double first_exchange; /* the first range was enqueued */
    double backward_end;   /* the last range was computed */
};

struct step {
    struct comm *comm;         /* borrowed */
    struct backend *backend;   /* borrowed */
    struct net *net;           /* borrowed */
    const struct graph *graph; /* borrowed */
    struct exchange exchange;
    int replicas;               /* of the run */
    struct reduction_plan plan; /* of this rank's replicas */
    struct buf *buffers;        /* [plan.n_buffers], owned */
    struct buf **partials;      /* [plan.n_partials], owned array */
    size_t bucket_elements;     /* size of a full bucket */
    struct range bucket;        /* computed, not yet enqueued */
    int local_replica;          /* index of the current one of this rank */
    struct range *sent;         /* [n_sent] enqueued in the last step, owned */
    int n_sent;
    struct step_times times;
};

/* Local: reduction plan and exchange buffers for `replicas` of the run. `net`
 * is a NET_TRAIN net. Call step_close() also after an error. */
enum vd_err step_init(struct step *s, struct comm *comm,
                      struct backend *backend, struct net *net,
                      const struct graph *graph, int replicas) VD_MUST_USE;
/* Collective: opens the exchange of that name; `bucket_elements` is at least 1
 * and equal on all ranks. Errors as exchange_open(). */
enum vd_err step_open_exchange(struct step *s, const char *exchange,
                               size_t bucket_elements) VD_MUST_USE;
/* Local. May be a zeroed one. */
void step_close(struct step *s);

/* Returns when one more micro-batch is staged. */
typedef enum vd_err step_wait_fn(void *ctx);
/*
 * Collective: enqueues one step on the next staged micro-batches, one for each
 * replica of this rank; calls `wait` before each. At most backend->ops->depth
 * steps may be launched and not collected. An error is not agreed: other ranks
 * wait for this rank's ranges, so the caller must end the job.
 */
enum vd_err step_launch(struct step *s, step_wait_fn *wait,
                        void *ctx) VD_MUST_USE;
/*
 * Local, but may wait for the other ranks' parts of the exchange: waits for the
 * oldest step that was launched and not collected, within the time limit of the
 * comm. `results` is [replicas of this rank, micro_batch]. VD_COMM after the
 * time limit, or if the exchange reports that another rank has failed; an error
 * is not agreed.
 */
enum vd_err step_collect(struct step *s, struct result *results,
                         int micro_batch,
                         struct update_result *update) VD_MUST_USE;

/*
 * Collective, for benchmarks, with no step in flight: repeats only the exchange
 * of the last step, the same ranges in the same order, on zeros. Changes only
 * the exchange buffers. Not for exchange none.
 */
enum vd_err step_time_exchange(struct step *s, double *seconds) VD_MUST_USE;

#endif
