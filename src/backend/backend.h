/*
 * The interface of a backend, which executes a graph on a device. Backends:
 * ref (plain loops in double, the reference for tests), cpu (oneDNN), and those
 * in shared libraries (plugin.h): the tests have deferred (ref behind an
 * asynchronous queue, like an accelerator). No member of struct backend_ops is
 * ever NULL.
 *
 * One training step of a rank that hosts replicas a .. b - 1, each a
 * micro-batch with its own batch-norm statistics:
 *
 *     for each replica:
 *         stage(net, batch)                     early, in the prefetch thread
 *         begin(net, key)
 *         forward(net)  backward(net, grad, ready, ctx)
 *         add(...)                              additions of the reduction tree
 *         divide(...)  update(net, grad)        last replica only
 *         end(net)
 *     done(net, ...)                            poll until the step is computed
 *     results(net, ...)                         once for each replica
 *     update_result(net, ...)
 *
 * Up to `depth` steps may be in flight: enqueued up to their last end, with
 * results that were not read yet. Results are read in the order of the steps.
 *
 * (An exchange that is not `in_step` runs after the last end instead, see
 * exchange/exchange.h; the update then has its own begin, end and key.)
 *
 * Capture and replay. Between begin and end all calls only enqueue work. For
 * one key they are the same calls with the same arguments in every step: no
 * host branch on values that the device computes, no argument that changes
 * from step to step. Everything that changes comes through stage. `ready` is
 * called when work is enqueued, not when it is done; whoever reads the buffer
 * orders the read after that work through the backend. The first begin of a key
 * may wait for the steps in flight, to capture while the device is idle.
 *
 * Errors. After an error between begin and end call cancel instead of end.
 * net_free, free and release_workspace wait for enqueued work: call them with
 * no step in flight, or after an error of the device.
 *
 * Layout. The flat buffers have the graph's order and element counts. Inside
 * one tensor the layout is private to the backend; put and get convert from
 * and to the canonical layout (model/graph.h). Checkpoints, hashes and exports
 * only use the canonical layout.
 *
 * All calls are Local. One thread at a time uses a net, except for stage, which
 * may be called at the same time, also while a step is captured. Threads may
 * use different nets of a backend at the same time, and pin and unpin; so every
 * call selects its device itself. A plugin includes headers of src/backend,
 * model/graph.h, model/dropout.h, data/batch_item.h, base and libc; never MPI
 * or HDF5.
 */
#ifndef VOCDIST_BACKEND_BACKEND_H
#define VOCDIST_BACKEND_BACKEND_H

#include "base/err.h"
#include "data/batch_item.h"
#include "model/graph.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Version of this interface and of plugin.h. */
#define BACKEND_ABI 2

/* Elements [first, first + n) of a flat buffer. */
struct range {
    size_t first, n;
};

/* Kinds of flat buffers, with their element counts in struct graph. */
enum buf_kind {
    BUF_PARAM,    /* n_params */
    BUF_MOMENT,   /* n_trainable; Adam's m or v, SGD's momentum */
    BUF_STATS,    /* n_stats; the layout is always canonical */
    BUF_EXCHANGE, /* n_exchange; gradients in the layout of the parameters,
                     the rest canonical */
    BUF_SCALER,   /* SCALER_N; the layout is always canonical */
};

/* Elements of a BUF_SCALER buffer, see scaler.h. Zeros are the state before the
 * first step without loss scaling. */
enum scaler_element {
    SCALER_SCALE,          /* factor of the loss's gradient in the next step */
    SCALER_APPLIED_IN_ROW, /* steps applied since the scale changed last */
    SCALER_SKIPPED,        /* steps skipped in the run */
    SCALER_SKIPPED_IN_ROW,
    SCALER_HALTED, /* not 0: updates change nothing */
    SCALER_N,
};

/* Device memory of one kind. With BACKEND_HOST_MEMORY the host may read and
 * write `data` between end and begin, and each range from its `ready` call on.
 * Without it, `data` only identifies the buffer. */
struct buf {
    enum buf_kind kind;
    float *data;
    size_t n; /* elements */
};

/* The state that training changes; one per rank, shared by its nets. */
struct weights {
    struct buf param, m, v, stats, scaler;
    uint64_t version; /* lets backends know when to repack their copies: callers
                         increment it after a put, backends without
                         BACKEND_CAPTURE after an applied update. The host does
                         not see the updates of a device that captures: there,
                         every enqueued update is a change. */
};

/* ---- input of a step ---- */

/* Scalars of one step; the backend keeps them on the device. */
struct step_scalars {
    uint64_t seed; /* of dropout */
    uint64_t step; /* 1, 2, ...; Adam's t is this minus SCALER_SKIPPED */
    double lr, backbone_lr;
};

struct batch {
    const struct batch_item *items; /* [micro_batch]; borrowed in the call */
    const uint8_t *const *pixels;   /* [micro_batch] of [S, S, 3]; borrowed */
    struct step_scalars scalars;
};

/* ---- output of a step ---- */

/* Of one image, computed before the update. If any value of the network is not
 * finite, `ce` is not finite either, also if the backend fuses layers. */
struct result {
    float l1, ce; /* pixels, nats; unscaled */
    float box[4]; /* predicted, pixels */
    int32_t class;
    float score; /* softmax of that class */
};

enum update_outcome {
    UPDATE_APPLIED,
    UPDATE_SKIPPED, /* not finite, with loss scaling: only the scaler changed */
    UPDATE_HALTED,  /* not finite and not skipped, or after such a step */
};

struct update_result {
    double grad_norm; /* of the mean gradient, unscaled, before clipping */
    float loss_scale; /* in this step; 1 without loss scaling */
    enum update_outcome outcome;
    double seconds; /* of the device, from the start of the step's first forward
                       to the end of this update; 0: not measured (hosts) */
};

/* ---- creation of a net ---- */

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

/* Dynamic loss scaling; zeros: none. Backward multiplies the gradient of the
 * loss by SCALER_SCALE, update divides by it. */
struct loss_scaling {
    int growth_steps; /* applied steps in a row after which the scale doubles */
    int max_skipped;  /* skipped steps in a row, at most */
};

struct net_spec {
    const struct graph *graph; /* borrowed for the lifetime of the net */
    struct weights *weights;   /* borrowed for the lifetime of the net */
    int micro_batch;
    enum net_mode mode;
    int threads; /* compute threads of this net; results depend on the number */
    int max_unread; /* forwards, and updates, whose results are not read yet, at
                       most; 0: 1 */
    const struct net *share_from; /* an open net of the same spec, or NULL. The
                               new net may share its read-only data; both nets
                               may still compute at the same time */
    struct optim optim;           /* NET_TRAIN */
    struct loss_scaling scaling;  /* NET_TRAIN */
    /* NET_TRAIN: a plan of tune, borrowed during net_new. NULL: algorithms are
     * a function of device, shape and micro-batch; nothing is measured. */
    const void *plan;
    size_t plan_bytes;
    float mean[3], std[3]; /* input normalization, of values in 0..1 */
};

struct net; /* defined by each backend */

/* Callback of backward: elements `range` of the exchange buffer are complete,
 * in enqueued order. The batch statistics and the flag (1 if a loss is not
 * finite, else 0) come first, in one range. The gradients follow, each range
 * once, in ascending order and without gaps. */
typedef enum vd_err ready_fn(void *ctx, struct range range);

enum backend_caps {
    BACKEND_HOST_MEMORY = 1, /* buf.data is host memory */
    BACKEND_CAPTURE = 2,     /* begin may replay a captured step */
    BACKEND_TUNES = 4,       /* tune is implemented */
};

/* Arithmetic of convolutions and matrix products; weights, sums and all that is
 * exchanged or saved are float32. In the order of option train.precision. */
enum backend_precision {
    BACKEND_FP32,
    BACKEND_TF32,
    BACKEND_BF16,
    BACKEND_FP16,
    BACKEND_PRECISIONS
};

/* Strings are borrowed during open. */
struct backend_config {
    int local_rank; /* among the ranks of the node: computes on visible device
                       local_rank modulo their number, so on the only one if
                       the launcher gives each rank its own */
    const char *plugin_dir; /* searched first for plugins; NULL or "": none */
    enum backend_precision precision;
    bool precision_is_optional; /* backend_open() warns and opens in fp32 if the
                                   backend does not compute in `precision` */
};

/* An open backend. */
struct backend {
    const struct backend_ops *ops;
    const struct collective_ops *collective; /* backend/collective.h; NULL: the
                                                backend has none */
    void *impl;
};

struct backend_ops {
    const char *name;
    unsigned caps;       /* enum backend_caps */
    unsigned precisions; /* bit 1 << enum backend_precision: open accepts it */
    int depth;           /* training steps in flight at a time, at least 1 */
    int max_eval_nets; /* NET_EVAL nets that may exist at a time, besides those
                          of NET_TRAIN; 0: any number */

    /* The reason why this machine cannot run the backend, a static string;
     * NULL: open can be called. */
    const char *(*unavailable)(void);
    enum vd_err (*open)(struct backend *b,
                        const struct backend_config *config) VD_MUST_USE;
    void (*close)(struct backend *b);
    /* What the bits of results depend on, for logs and run.json: "oneDNN 2.6.3
     * avx512_core", GPU model, library versions. */
    const char *(*describe)(struct backend *b);
    /* Identifies the physical device in the world (the UUID of a GPU or of its
     * MIG instance), in less than 64 bytes; at most one rank computes on it.
     * Lives until close; never part of describe(). NULL: any number of ranks
     * may share the device. */
    const char *(*device_id)(struct backend *b);

    /* A zeroed buffer. Its layout depends on graph and backend only. */
    enum vd_err (*alloc)(struct backend *b, const struct graph *g,
                         enum buf_kind kind, struct buf *out) VD_MUST_USE;
    /* Waits for enqueued work, which may use the buffer. */
    void (*free)(struct backend *b, struct buf *buf);
    /* Copy a whole buffer, canonical on the host side; both wait for enqueued
     * work. After a put into a buffer of `weights` the caller must increment
     * weights->version. */
    enum vd_err (*put)(struct backend *b, const struct graph *g,
                       struct buf *dst, const float *src) VD_MUST_USE;
    enum vd_err (*get)(struct backend *b, const struct graph *g, float *dst,
                       const struct buf *src) VD_MUST_USE;

    /* Page-locks host memory from which stage() copies pixels, so that the
     * device reads it directly; whole blocks, each once, and unpin before it is
     * freed. Not an error if the system refuses: stage() then copies from
     * pageable memory, which takes longer but is as safe, because it always
     * returns with the pixels copied. unpin() of such memory does nothing. Any
     * thread. */
    void (*pin)(struct backend *b, void *memory, size_t bytes);
    void (*unpin)(struct backend *b, void *memory);

    /*
     * Measures the algorithms of a NET_TRAIN net of `spec` on this device, of
     * which it uses neither weights nor plan, and returns a plan: `n` > 0 bytes
     * of text (at most 4 MiB), for free(), that are saved as a file. A plan has
     * the algorithms with their settings, and what it is valid for: device and
     * library versions, precision, graph, micro-batch; nothing of the run. It
     * has a checksum. Two plans may give nets whose results differ in rounding;
     * one plan gives the same bits on all devices that it is valid for.
     *
     * One call, without progress reports: the other ranks wait for it, so it
     * ends well within timeout.setup (600 s). Needs BACKEND_TUNES; without it
     * VD_UNSUPPORTED (backend_cannot_tune()), and spec->plan must be NULL.
     */
    enum vd_err (*tune)(struct backend *b, const struct net_spec *spec,
                        void **plan, size_t *n) VD_MUST_USE;
    /* VD_DATA for a damaged plan; VD_CONFIG for one that is not valid for this
     * device, library, precision, graph or micro-batch (remedy:
     * BACKEND_PLAN_REMEDY). */
    enum vd_err (*net_new)(struct backend *b, const struct net_spec *spec,
                           struct net **out) VD_MUST_USE;
    /* Waits for enqueued work. */
    void (*net_free)(struct net *net);
    /* Waits for enqueued work, then frees the memory that is needed only while
     * the net computes; the next begin or forward allocates it again. Discards
     * node values and the captured calls of all keys; keeps staged batches,
     * results and weights. For long pauses. */
    enum vd_err (*release_workspace)(struct net *net) VD_MUST_USE;

    /* Fills the next of two staging buffers. A buffer is in use until the
     * device has read it: in NET_EVAL by forward, in NET_TRAIN by backward, or
     * by forward if the next forward follows without a backward. Blocks while
     * both are in use. May be called from another thread than the one that
     * computes. */
    enum vd_err (*stage)(struct net *net,
                         const struct batch *batch) VD_MUST_USE;

    /* *replayed: the captured calls of `key` were launched; skip to end. */
    enum vd_err (*begin)(struct net *net, int key, bool *replayed) VD_MUST_USE;
    /* On the oldest staged batch; asserts that a batch is staged. */
    enum vd_err (*forward)(struct net *net) VD_MUST_USE;
    enum vd_err (*backward)(struct net *net, struct buf *exchange,
                            ready_fn *ready, void *ctx) VD_MUST_USE;
    /* dst += src over `range` of two exchange buffers, elementwise. */
    enum vd_err (*add)(struct net *net, struct buf *dst, const struct buf *src,
                       struct range range) VD_MUST_USE;
    /* buf /= by over `range` of an exchange buffer, elementwise. */
    enum vd_err (*divide)(struct net *net, struct buf *buf, struct range range,
                          float by) VD_MUST_USE;
    /* Optimizer step and running statistics, from the mean over replicas in
     * `exchange` and the step scalars of the last forward. If any element is
     * not finite or the flag is not 0, or after a halt, it changes the scaler's
     * state only (scaler.h), not even `version`. */
    enum vd_err (*update)(struct net *net, struct buf *exchange) VD_MUST_USE;
    enum vd_err (*end)(struct net *net) VD_MUST_USE;
    /* After an error since begin, instead of end: discards the calls of this
     * key that were captured since begin. */
    void (*cancel)(struct net *net);

    /* *done: the oldest update whose result was not read yet (NET_EVAL: the
     * oldest such forward) is computed, so results and update_result of its
     * step do not wait. Never waits itself; an error of the device is returned
     * here. Call it after that step's last end. */
    enum vd_err (*done)(struct net *net, bool *done) VD_MUST_USE;
    /* Results [micro_batch] of the oldest forward whose results were not read
     * yet; call it after that forward's end. Waits without a limit unless the
     * step is done. */
    enum vd_err (*results)(struct net *net, struct result *out) VD_MUST_USE;
    /* Result of the oldest update whose result was not read yet; waits in the
     * same way. */
    enum vd_err (*update_result)(struct net *net,
                                 struct update_result *out) VD_MUST_USE;

    /* For tests: the value of a node in the last forward, [micro_batch, c, h,
     * w], and (NET_TRAIN) the gradient of the loss with respect to it.
     * VD_UNSUPPORTED for a node that was fused away. */
    enum vd_err (*node_value)(struct net *net, int node,
                              float *out) VD_MUST_USE;
    enum vd_err (*node_grad)(struct net *net, int node, float *out) VD_MUST_USE;
};

/* ---- opening a backend (backend_registry.c) ---- */

/*
 * Opens a backend by name: "ref", "cpu", that of a plugin (backend_plugin.h),
 * or "auto". "auto" opens the first of the cuda plugin, cpu, ref that is there
 * and can run on this machine, and logs its name in one line; if it is not the
 * fastest one, the line is a warning with the reason. The precision does not
 * change that choice: a run that needs it would rather fail than be computed by
 * a much slower backend. VD_UNSUPPORTED, with a remedy, for a backend that was
 * not built, cannot be loaded, cannot run on this machine or does not compute
 * in that precision; VD_CONFIG for an unknown name.
 */
enum vd_err backend_open(struct backend *b, const char *name,
                         const struct backend_config *config) VD_MUST_USE;
void backend_close(struct backend *b);
/* All backends that are built in, NULL-terminated. */
const struct backend_ops *const *backend_list(void);

/* ---- for users of a backend ---- */

/* Allocates and frees the buffers of `weights` (BUF_PARAM, 2 x BUF_MOMENT,
 * BUF_STATS, BUF_SCALER). */
enum vd_err weights_alloc(struct backend *b, const struct graph *g,
                          struct weights *w) VD_MUST_USE;
void weights_free(struct backend *b, struct weights *w);

/* Ends what begin started: end, or cancel and `err` if that is the error of a
 * call since then. */
enum vd_err backend_end(struct backend *b, struct net *net,
                        enum vd_err err) VD_MUST_USE;

/* ---- for implementations of a backend ---- */

/* Elements of a buffer of that kind. */
size_t backend_buf_count(const struct graph *g, enum buf_kind kind);
/* VD_CONFIG if training would compute the variance of a single value. Asserts
 * that a net for evaluation has no plan. */
enum vd_err backend_check_spec(const struct net_spec *spec) VD_MUST_USE;
/* The `tune` of a backend without BACKEND_TUNES. */
enum vd_err backend_cannot_tune(struct backend *b, const struct net_spec *spec,
                                void **plan, size_t *n) VD_MUST_USE;
/* For messages about a plan that is not valid here. */
#define BACKEND_PLAN_REMEDY                                                 \
    "measure a new plan with --tune on, or give --tune off; a resumed run " \
    "keeps its plan: to change it, start another run from the checkpoint "  \
    "(--resume PATH --train.name NAME --tune on)"

#endif
