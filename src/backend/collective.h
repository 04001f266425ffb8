/*
 * The mean of the exchange buffers over all ranks, computed by a backend's own
 * transport inside the step: NCCL, for a backend of GPUs. A plugin may provide
 * this second table of operations beside struct backend_ops (plugin.h). Its
 * only caller is exchange nccl (exchange/exchange.h). No member of struct
 * collective_ops is ever NULL.
 *
 *     make_id(b, &id)                  rank 0; `id` is sent to the other ranks
 *     open(spec, &c)                   every rank
 *     state(c, &ready)                 poll until ready
 *     in every step, between begin and end of the net:
 *         mean(c, range) ...           as backward completes the ranges
 *         join(c)                      before the update
 *     state(c, &ready)                 while steps are in flight
 *     release_workspace(net)           drops the captured calls of the net
 *     close(c)
 *
 * mean and join follow the rules of the calls between begin and end
 * (backend.h): they only enqueue work and may be captured and replayed. All
 * ranks enqueue the same means in the same order. A mean may be computed at any
 * time between its call and the next join, beside later work of the net. Until
 * the join, later calls do not touch its range of the partial sums.
 *
 * The device of a rank that waits for other ranks is not done; the host never
 * waits for them in a call below. Local calls are made by one rank at any time,
 * Collective calls by all ranks in the same order. One thread at a time uses a
 * collective, except for state: another thread may stage at the same time.
 */
#ifndef VOCDIST_BACKEND_COLLECTIVE_H
#define VOCDIST_BACKEND_COLLECTIVE_H

#include "backend/backend.h"

/* Names one collective; made by one rank, used by all. 128 bytes, as
 * ncclUniqueId. */
struct collective_id {
    unsigned char bytes[128];
};

struct collective_spec {
    /* Borrowed for the lifetime of the collective. */
    struct backend *backend;
    struct net *net;
    const struct graph *graph;
    /* This rank's partial sums (backend/reduction_tree.h): BUF_EXCHANGE buffers
     * of the backend, in the order of reduction_plan_init_rank(). */
    struct buf *const *partials;
    int n_partials;
    int rank, size; /* of the job */
    int replicas;   /* of all ranks */
    struct collective_id id;
};

struct collective; /* defined by each plugin */

struct collective_ops {
    /* Local: the reason why this rank cannot use a collective (a library is
     * missing), a static string; NULL: it can. */
    const char *(*unavailable)(void);
    /* Local, on one rank. VD_COMM or VD_SYSTEM if the transport fails. */
    enum vd_err (*make_id)(struct backend *b,
                           struct collective_id *id) VD_MUST_USE;
    /* Collective: starts to join the ranks of spec->id. Never waits for them:
     * state reports when all have joined. `spec` is borrowed in the call, `out`
     * is owned by the caller. */
    enum vd_err (*open)(const struct collective_spec *spec,
                        struct collective **out) VD_MUST_USE;
    /* Local, never waits; also between begin and end. *ready: all ranks have
     * joined, so mean may be called; before that it may enqueue and complete
     * means of its own, as a warm-up or a self-test. VD_COMM, logged, if the
     * transport or another rank has failed: means in flight never complete. */
    enum vd_err (*state)(struct collective *c, bool *ready) VD_MUST_USE;
    /* Collective: enqueues the mean over all replicas of elements `range`.
     * Reads the partial sums of all ranks, adds them in the order of the
     * reduction tree, divides once by the number of replicas, and writes
     * partials[0]; other partial sums are undefined afterwards. Reads what was
     * enqueued before this call. */
    enum vd_err (*mean)(struct collective *c, struct range range) VD_MUST_USE;
    /* Collective: later work of the net starts after all enqueued means. */
    enum vd_err (*join)(struct collective *c) VD_MUST_USE;
    /* Local: frees the collective, possibly device memory. Call it after
     * release_workspace, which drops the captured calls of the net. If that
     * failed, the device has failed: then close frees host memory only. Never
     * waits for other ranks. */
    void (*close)(struct collective *c);
};

#endif
