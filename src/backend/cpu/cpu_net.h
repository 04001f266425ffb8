/* Inside of the cpu backend, shared by its files. */
#ifndef VOCDIST_BACKEND_CPU_NET_H
#define VOCDIST_BACKEND_CPU_NET_H

#include "backend/backend.h"
#include "backend/cpu/cpu_dnnl.h"
#include "backend/cpu/cpu_norm.h"
#include "backend/cpu/cpu_plan.h"
#include "backend/cpu/cpu_simd.h"
#include "backend/staging.h"

/* What a unit of the plan executes with; all owned, NULL: not this kind. */
struct unit {
    struct dnn_conv *conv;
    struct dnn_linear *linear;
    struct dnn_pool *pool;
    struct norm norm;
    /* Of a folded norm, [padded oc], in the packed weights. bias[0] is NaN
     * where values may overflow with these weights. */
    float *bias;
};

/* No convolution of floats overflows where the sum of squares of its input and
 * that of its weights are below this. */
#define CONV_OVERFLOW_BOUND 1e38

/* Copies of weights as oneDNN wants them, folded ones with their biases. Nets
 * that are alike share them. */
struct packed_weights {
    pthread_mutex_t lock; /* of all below */
    int refcount;         /* nets that use these */
    size_t n;
    float *memory; /* [n], owned */
    /* The weights->version that they were made from. Copies of frozen weights
     * outlive an update of the others. */
    uint64_t trainable_version, frozen_version;
};

struct net {
    struct net_spec spec;
    const struct graph *graph;
    const struct simd *simd;
    struct plan plan;
    struct dnn *dnn;
    struct unit *units; /* [plan.n_units] */
    float *arena; /* values, gradients, scratch, owned; NULL after release */
    int folded_weights;    /* buffer for one folded weight tensor */
    int pack_scratch;      /* buffer */
    uint8_t *dropout_mask; /* [micro_batch, n] for dropout, owned; or NULL */
    struct packed_weights *packed_weights;

    struct staging staging;
    bool loss_finite;
    double *norm_partials; /* room for the gradient's norm, owned */
    struct update_result update_result;
};

/* ---- cpu_net.c ---- */

enum vd_err cpu_net_new(struct backend *b, const struct net_spec *spec,
                        struct net **out) VD_MUST_USE;
/* The plan, and descriptors of all layers: what computes them and where their
 * values are to be. Neither code nor large memory yet. cpu_net_free() it. */
enum vd_err net_prepare(const struct net_spec *spec,
                        struct net **out) VD_MUST_USE;
void cpu_net_free(struct net *net);
/* oneDNN's name of what computes unit `i` in that direction, static; NULL: not
 * oneDNN, or not computed. */
const char *net_implementation(const struct net *net, int i,
                               enum dnn_direction direction);
const char *net_layer_name(const struct net *net, int i);
enum vd_err cpu_release_workspace(struct net *net) VD_MUST_USE;
enum vd_err cpu_stage(struct net *net, const struct batch *batch) VD_MUST_USE;
enum vd_err cpu_results(struct net *net, struct result *out) VD_MUST_USE;
enum vd_err cpu_node_value(struct net *net, int node, float *out) VD_MUST_USE;
enum vd_err cpu_node_grad(struct net *net, int node, float *out) VD_MUST_USE;

/* Memory of a plan's buffer; NULL for -1. */
float *net_buffer(const struct net *net, int buffer);
float *net_value(struct net *net, int node);
/* Tensor `index` of a table: what is known of it, and its values. */
const struct graph_tensor *net_tensor(const struct net *net, int index);
const float *net_param(const struct net *net, int index);
const float *net_running(const struct net *net, int index);
/* Takes back what cpu_release_workspace() gave away. */
enum vd_err net_ensure_workspace(struct net *net) VD_MUST_USE;
/* The calling thread's parallel regions, oneDNN's too, get this number of
 * threads; returns what it was. */
int net_set_threads(int threads);
void net_restore_threads(int threads_before);

/* ---- cpu_packed_weights.c ---- */

/* After all units were made: the packed weights of `share_from`, or new ones.
 */
enum vd_err packed_weights_open(struct net *net,
                                const struct net *share_from) VD_MUST_USE;
void packed_weights_close(struct net *net);
/* Makes them anew if the weights have changed. */
enum vd_err packed_weights_refresh(struct net *net) VD_MUST_USE;
/* An update that changes no frozen weights takes place. */
void packed_weights_expect_update(struct net *net);

/* ---- cpu_pass.c ---- */

enum vd_err cpu_forward(struct net *net) VD_MUST_USE;
enum vd_err cpu_backward(struct net *net, struct buf *exchange, ready_fn *ready,
                         void *ctx) VD_MUST_USE;

/* ---- cpu_head.c: loss and dropout ---- */

void loss_forward(struct net *net, const struct plan_unit *u);
void loss_backward(struct net *net, const struct plan_unit *u);
/* Fills the unit's factors: 0, or 1 / (1 - rate). */
void dropout_draw_factors(struct net *net, const struct plan_unit *u,
                          float *factors);

/* ---- cpu_optim.c ---- */

enum vd_err cpu_update(struct net *net, struct buf *exchange) VD_MUST_USE;
enum vd_err cpu_add(struct net *net, struct buf *dst, const struct buf *src,
                    struct range range) VD_MUST_USE;
enum vd_err cpu_divide(struct net *net, struct buf *buf, struct range range,
                       float by);
size_t optim_n_partials(const struct graph *g);

#endif
