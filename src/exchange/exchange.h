/*
 * Gradient averaging: the mean over all R replicas of an exchange buffer (see
 * model/graph.h), formed along the one reduction tree
 * (exchange/reduction_tree.h), so the bits do not depend on the number of
 * ranks.
 *
 *     none   one rank: the tree is complete already, only the division is left
 *     mpi    slice i of a range goes to rank i, which finishes the tree and
 *            divides by R once; then all ranks get all slices. Any number of
 *            ranks, also one.
 *
 * Every rank calls enqueue_mean() for the same ranges in the same order; it
 * only queues. test() is called now and then while the device computes, since
 * MPI moves data inside its own calls only. wait_all() ends the step.
 *
 * An exchange that is `in_step` is called between the backend's begin and end,
 * from `ready` on, so it runs beside backward (mpi, in place in host memory)
 * or is part of the recorded step (none). Any other is called after end, when
 * the sums are complete: mpi then copies them from the device and back.
 */
#ifndef VOCDIST_EXCHANGE_EXCHANGE_H
#define VOCDIST_EXCHANGE_EXCHANGE_H

#include "backend/backend.h"
#include "base/err.h"
#include "comm/comm.h"
#include "exchange/reduction_tree.h"

/* Elements per range that are worth a message of their own (4 MB). */
#define EXCHANGE_BUCKET_ELEMENTS ((size_t)1 << 20)

struct exchange_spec {
    /* All borrowed. */
    struct comm *comm;
    struct backend *backend;
    struct net *net;
    const struct graph *graph;
    int replicas;
    /* This rank's plan and, for each of its plan->n_partials nodes, the buffer
     * that holds it when enqueue_mean() is called. partials[0] receives the
     * mean. */
    const struct reduction_plan *plan;
    struct buf *const *partials;
};

struct exchange {
    const struct exchange_ops *ops;
    struct exchange_spec spec;
    bool in_step; /* see above; open sets it */
    void *impl;
};

struct exchange_ops {
    const char *name;
    /* Collective. */
    enum vd_err (*open)(struct exchange *x) VD_MUST_USE;
    void (*close)(struct exchange *x);
    /* Collective; does not wait for peers unless many ranges are in flight. */
    enum vd_err (*enqueue_mean)(struct exchange *x,
                                struct range range) VD_MUST_USE;
    /* Local. */
    enum vd_err (*test)(struct exchange *x) VD_MUST_USE;
    /* Collective: all queued means have arrived. VD_COMM after the comm's time
     * limit, naming who is late; the buffers may still be written to. */
    enum vd_err (*wait_all)(struct exchange *x) VD_MUST_USE;
};

/*
 * Collective. "auto" is mpi on several ranks, none on one. VD_CONFIG for none
 * on several ranks; VD_UNSUPPORTED for what was not built.
 */
enum vd_err exchange_open(struct exchange *x, const char *name,
                          const struct exchange_spec *spec) VD_MUST_USE;
void exchange_close(struct exchange *x);

#endif
