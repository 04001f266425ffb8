/*
 * What a backend is: it makes a graph runnable on a device. There are
 * ref (plain loops in double, the oracle), cpu (oneDNN) and, in builds with
 * tests, deferred (ref, as awkward as an accelerator); the interface is one
 * that a plugin for CUDA can have. No member is ever NULL.
 *
 * One training step of a rank that hosts replicas a .. b - 1, each a
 * micro-batch with its own batch-norm statistics:
 *
 *     for each replica:
 *         stage(net, batch)                     from the loader's thread, early
 *         begin(net, key)
 *         forward(net)  backward(net, grad, ready, ctx)
 *         add(...)                              tree additions
 *         divide(...)  update(net, grad)        last replica only
 *         end(net)
 *     results(net, ...)                         when they are wanted
 *
 * (An exchange that is not `in_step` comes after the last end instead:
 * exchange/exchange.h; the update then has a begin, end and key of its own.)
 *
 * Between begin and end calls only enqueue: the same calls every step for one
 * key, no host branch on values the device computes, no per-step number as an
 * argument: everything that changes from step to step comes through stage.
 * `ready` is called when the work is enqueued, not when it is done; whoever
 * reads the buffer orders itself behind it through the backend.
 *
 * Layout: the flat buffers have the graph's order and counts; inside one
 * tensor the layout is the backend's own. put and get convert from and to the
 * canonical one. Checkpoints, hashes and exports only ever see the latter.
 *
 * All calls are Local. A net is used by one thread at a time, except stage.
 * A plugin sees this header, model/graph.h, data/batch_item.h, base and libc;
 * never MPI or HDF5.
 */
#ifndef VOCDIST_BACKEND_BACKEND_H
#define VOCDIST_BACKEND_BACKEND_H

#include "base/err.h"
#include "data/batch_item.h"
#include "model/graph.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKEND_ABI 1

/* Elements [first, first + n) of a flat buffer. */
struct range {
    size_t first, n;
};

enum buf_kind {
    BUF_PARAM,    /* n_params */
    BUF_MOMENT,   /* n_trainable; Adam's m or v, SGD's momentum */
    BUF_STATS,    /* n_stats; never private in layout */
    BUF_EXCHANGE, /* n_exchange; gradients as params, the rest plain */
};

/* Device memory of one kind. With BACKEND_HOST_MEMORY, `data` may be read and
 * written by the host between end and begin, and from `ready` on for its range;
 * without, it only tells one buffer from another. */
struct buf {
    enum buf_kind kind;
    float *data;
    size_t n;
};

/* The state that training changes; one per rank, shared by its nets. */
struct weights {
    struct buf param, m, v, stats;
    uint64_t version; /* backends count changes here, to repack copies; none
                         while one of its nets computes */
};

/* ---- what a step is fed with ---- */

/* The numbers of one step; they live on the device. */
struct step_scalars {
    uint64_t seed; /* of dropout */
    uint64_t step; /* 1, 2, ...: Adam's t */
    double lr, backbone_lr;
};

struct batch {
    const struct batch_item *items; /* [micro_batch]; borrowed in the call */
    const uint8_t *const *pixels;   /* [micro_batch] of [S, S, 3]; borrowed */
    struct step_scalars scalars;
};

/* ---- what comes back ---- */

/* Where a value of the network is not finite, `ce` is not, whatever the device
 * fuses. */
struct result {   /* per image, all before the update */
    float l1, ce; /* pixels, nats; unscaled */
    float box[4]; /* predicted, pixels */
    int32_t class;
    float score; /* softmax of that class */
};

struct update_result {
    double grad_norm; /* of the mean gradient, before clipping */
    bool finite;      /* false: nothing was changed */
};

/* ---- how a net is made ---- */

enum net_mode {
    NET_TRAIN, /* forward keeps what backward needs; batch statistics */
    NET_EVAL,  /* running statistics, no dropout, no backward */
};

enum optim_rule { OPTIM_ADAM, OPTIM_ADAMW, OPTIM_SGD };

/* As torch.optim's Adam, AdamW and SGD define them. */
struct optim {
    enum optim_rule rule;
    double beta1, beta2, eps, weight_decay;
    double momentum;  /* SGD */
    double clip_norm; /* 0: no clipping */
};

struct net_spec {
    const struct graph *graph; /* borrowed as long as the net lives */
    struct weights *weights;   /* borrowed as long as the net lives */
    int micro_batch;
    enum net_mode mode;
    int threads; /* compute threads of this net; part of the bits */
    const struct net *share_from; /* a living net of the same spec, or NULL: the
                               new one may share what both only read, and then
                               both may compute at the same time */
    struct optim optim;           /* NET_TRAIN */
    float mean[3], std[3];        /* input normalisation, of values in 0..1 */
};

struct net; /* the backend's own */

/* Elements `range` of the exchange buffer are complete, in enqueued order.
 * Statistics and flag (1 if a loss is not finite, else 0) come once, before
 * the gradients; the gradients' ranges come once each and in ascending order
 * without gaps. */
typedef enum vd_err ready_fn(void *ctx, struct range range);

enum backend_caps {
    BACKEND_HOST_MEMORY = 1, /* buf.data is host memory */
    BACKEND_CAPTURE = 2,     /* begin may replay a recorded step */
};

struct backend_config {
    int local_rank;   /* picks the device */
    const char *tune; /* "off", all there is; borrowed during open */
};

struct backend {
    const struct backend_ops *ops;
    void *impl;
};

struct backend_ops {
    const char *name;
    unsigned abi; /* BACKEND_ABI */
    unsigned caps;

    /* Why it is no use on this machine, static; NULL: it can be opened. */
    const char *(*unavailable)(void);
    enum vd_err (*open)(struct backend *b,
                        const struct backend_config *config) VD_MUST_USE;
    void (*close)(struct backend *b);
    /* What the bits depend on, for people and for run.json: "oneDNN 2.6.3
     * avx512_core", GPU model, library versions. */
    const char *(*describe)(struct backend *b);

    /* Zeroed. Layout depends on graph and backend only. */
    enum vd_err (*alloc)(struct backend *b, const struct graph *g,
                         enum buf_kind kind, struct buf *out) VD_MUST_USE;
    void (*free)(struct backend *b, struct buf *buf);
    /* Whole buffer, canonical on the host side; both wait. put into a buffer
     * of `weights` must be followed by weights->version++ . */
    enum vd_err (*put)(struct backend *b, const struct graph *g,
                       struct buf *dst, const float *src) VD_MUST_USE;
    enum vd_err (*get)(struct backend *b, const struct graph *g, float *dst,
                       const struct buf *src) VD_MUST_USE;

    enum vd_err (*net_new)(struct backend *b, const struct net_spec *spec,
                           struct net **out) VD_MUST_USE;
    void (*net_free)(struct net *net);
    /* Gives back memory that is needed only while the net computes; the next
     * begin or forward takes it again. Node values and what was recorded for
     * any key are gone; staged batches, results and weights stay. For long
     * pauses. */
    enum vd_err (*release_workspace)(struct net *net) VD_MUST_USE;

    /* Fills the next of two staged batches; waits while both are in use.
     * Another thread than the computing one may call it. */
    enum vd_err (*stage)(struct net *net,
                         const struct batch *batch) VD_MUST_USE;

    /* *replayed: the recorded calls of `key` were launched; skip to end. */
    enum vd_err (*begin)(struct net *net, int key, bool *replayed) VD_MUST_USE;
    /* On the oldest staged batch; that there is none is our bug. */
    enum vd_err (*forward)(struct net *net) VD_MUST_USE;
    enum vd_err (*backward)(struct net *net, struct buf *exchange,
                            ready_fn *ready, void *ctx) VD_MUST_USE;
    /* dst += src over `range` of two exchange buffers, element by element. */
    enum vd_err (*add)(struct net *net, struct buf *dst, const struct buf *src,
                       struct range range) VD_MUST_USE;
    /* buf /= by over `range` of an exchange buffer, element by element. */
    enum vd_err (*divide)(struct net *net, struct buf *buf, struct range range,
                          float by) VD_MUST_USE;
    /* Optimizer step and running statistics from the mean over replicas, with
     * the step scalars of the last forward; changes nothing (not even
     * `version`) if any of it is not finite or the flag is not 0. */
    enum vd_err (*update)(struct net *net, struct buf *exchange) VD_MUST_USE;
    enum vd_err (*end)(struct net *net) VD_MUST_USE;

    /* Of the oldest forward not asked yet, [micro_batch], after its end;
     * waits, then releases the batch. */
    enum vd_err (*results)(struct net *net, struct result *out) VD_MUST_USE;
    /* Of the last update; waits. */
    enum vd_err (*update_result)(struct net *net,
                                 struct update_result *out) VD_MUST_USE;

    /* For tests: value of a node of the last forward, [micro_batch, c, h, w],
     * and (NET_TRAIN) the loss's gradient with respect to it. VD_UNSUPPORTED
     * for a node that was fused away. */
    enum vd_err (*node_value)(struct net *net, int node,
                              float *out) VD_MUST_USE;
    enum vd_err (*node_grad)(struct net *net, int node, float *out) VD_MUST_USE;
};

/*
 * Opens by name: "ref", "cpu", or "auto": the first of cpu, ref that was built
 * and can run here, named in one line; a warning with the reason where that is
 * not the best one. One that was not built, or cannot run here, answers
 * VD_UNSUPPORTED with what to do.
 */
enum vd_err backend_open(struct backend *b, const char *name,
                         const struct backend_config *config) VD_MUST_USE;
void backend_close(struct backend *b);
/* All that were built; ends with NULL. For tests that run on every one. */
const struct backend_ops *const *backend_list(void);

/* Allocates and frees the buffers of `weights` (BUF_PARAM, 2 x BUF_MOMENT,
 * BUF_STATS). */
enum vd_err weights_alloc(struct backend *b, const struct graph *g,
                          struct weights *w) VD_MUST_USE;
void weights_free(struct backend *b, struct weights *w);

/* ---- for backends ---- */

/* Elements of a buffer of that kind. */
size_t backend_buf_count(const struct graph *g, enum buf_kind kind);
/* VD_CONFIG where training would need the variance of one value. */
enum vd_err backend_check_spec(const struct net_spec *spec) VD_MUST_USE;

#endif
