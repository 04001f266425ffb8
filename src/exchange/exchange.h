/*
 * Gradient averaging: an all-reduce that computes the mean of an exchange
 * buffer (model/graph.h) over all R replicas. All sums follow the reduction
 * tree (backend/reduction_tree.h), so the bits do not depend on the number of
 * ranks.
 *
 *     none   one rank: its sums are complete, the device divides by R
 *     nccl   any number of ranks, also one: the collective of the backend's
 *            plugin (backend/collective.h), on the device
 *     mpi    any number of ranks, also one. Reduce-scatter: rank i receives
 *            slice i of a range, finishes the tree and divides by R once.
 *            All-gather: all ranks receive all slices.
 *
 * Every rank calls enqueue_mean() for the same ranges in the same order, which
 * train/step.h defines: in_step, batch statistics and the non-finite flag, then
 * the gradients from head to stem as backward completes them; else all elements
 * in ascending order after backward. enqueue_mean() only starts a transfer.
 * Call test() regularly while the device computes, because MPI makes progress
 * only inside MPI calls, and while steps are in flight, because it reports that
 * another rank has failed. wait_all() completes all ranges of the step.
 *
 * An exchange that is `in_step` is called between the backend's begin and end:
 * enqueue_mean() for a range once backward has reported it (ready_fn). So it
 * overlaps backward (mpi, in place in host memory) or is part of the captured
 * step (none, nccl), where enqueue_mean() and wait_all() only enqueue work of
 * the device. Any other exchange is called after end, when the sums are
 * complete: mpi then copies them from the device to the host and the mean back.
 */
#ifndef VOCDIST_EXCHANGE_EXCHANGE_H
#define VOCDIST_EXCHANGE_EXCHANGE_H

#include "backend/backend.h"
#include "backend/reduction_tree.h"
#include "base/err.h"
#include "comm/comm.h"

struct exchange_spec {
    /* All borrowed. */
    struct comm *comm;
    struct backend *backend;
    struct net *net; /* not used by mpi */
    const struct graph *graph;
    int replicas;
    /* This rank's plan, and the buffer of each of its plan->n_partials partial
     * sums (tree nodes). When enqueue_mean() is called they hold the sums of
     * that range. partials[0] receives the mean. */
    const struct reduction_plan *plan;
    struct buf *const *partials;
};

struct exchange {
    const struct exchange_ops *ops;
    struct exchange_spec spec;
    bool in_step; /* see above; set by open */
    void *impl;
};

struct exchange_ops {
    const char *name;
    /* Collective. An error of VD_COMM may not be agreed, all others are. */
    enum vd_err (*open)(struct exchange *x) VD_MUST_USE;
    void (*close)(struct exchange *x);
    /* Collective; blocks only if too many ranges are in flight. */
    enum vd_err (*enqueue_mean)(struct exchange *x,
                                struct range range) VD_MUST_USE;
    /* Local, never waits. VD_COMM if another rank or the transport has failed,
     * so that means in flight never complete. */
    enum vd_err (*test)(struct exchange *x) VD_MUST_USE;
    /* Collective: returns when all enqueued means are complete. VD_COMM after
     * the time limit of the comm, with the ranks that are late; MPI may then
     * still write to the buffers. */
    enum vd_err (*wait_all)(struct exchange *x) VD_MUST_USE;
};

/*
 * Collective. "auto" is none on one rank; on several ranks nccl if the backends
 * of all ranks have a collective that can be used, else mpi. If only some can
 * be used, one rank warns with the reason. VD_CONFIG for none on several ranks;
 * VD_UNSUPPORTED for an exchange that was not built, and for nccl if a rank
 * cannot use it. One rank logs these errors, and they are agreed. VD_COMM, not
 * agreed, if ranks do not join within the time limit of the comm.
 */
enum vd_err exchange_open(struct exchange *x, const char *name,
                          const struct exchange_spec *spec) VD_MUST_USE;
void exchange_close(struct exchange *x);

#endif
