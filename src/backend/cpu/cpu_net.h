/* Internal to the cpu backend, shared by its files. */
#ifndef VOCDIST_BACKEND_CPU_NET_H
#define VOCDIST_BACKEND_CPU_NET_H

#include "backend/backend.h"
#include "backend/cpu/cpu_dnnl.h"
#include "backend/cpu/cpu_norm.h"
#include "backend/cpu/cpu_plan.h"
#include "backend/cpu/cpu_simd.h"
#include "backend/staging.h"

/* The executable objects of a unit; owned; NULL for other kinds of units. */
struct unit {
    struct dnn_conv *conv;
    struct dnn_linear *linear;
    struct dnn_pool *pool;
    struct norm norm;
    /* Of a folded norm: [padded oc], in the packed weights. bias[0] is NaN if
     * values may overflow with these weights. */
    float *bias;
};

/* A float32 convolution cannot overflow if the sum of squares of its input and
 * that of its weights are both below this. */
#define CONV_OVERFLOW_BOUND 1e38

/* Copies of the weights in the layouts that oneDNN requires; folded ones with
 * their biases. Nets of equal specs share them. */
struct packed_weights {
    pthread_mutex_t lock; /* protects the fields below */
    int refcount;         /* number of nets that use them */
    size_t n;
    float *memory; /* [n], owned */
    /* The weights->version that the copies of trainable and frozen weights were
     * made from. An update leaves the copies of frozen weights valid. */
    uint64_t trainable_version, frozen_version;
};

struct net {
    struct net_spec spec;
    const struct graph *graph;
    const struct simd *simd;
    struct plan plan;
    struct dnn *dnn;
    struct unit *units; /* [plan.n_units] */
    float *arena; /* values, gradients, scratchpads; owned; NULL: released */
    int folded_weights;    /* plan buffer for one folded weight tensor */
    int pack_scratch;      /* plan buffer: scratchpad for packing */
    uint8_t *dropout_mask; /* [micro_batch, n]; owned; NULL in evaluation */
    struct packed_weights *packed_weights; /* shared, reference counted */

    struct staging staging;
    bool loss_finite;      /* all losses of the last forward were finite */
    double *norm_partials; /* partial sums of the gradient norm; owned */
    struct update_result update_result; /* of the last update */
};

/* ---- cpu_net.c ---- */

enum vd_err cpu_net_new(struct backend *b, const struct net_spec *spec,
                        struct net **out) VD_MUST_USE;
/* Makes the plan and the descriptors of all layers: implementations and
 * offsets are known then. Generates no code and allocates no large memory.
 * cpu_net_free() it. */
enum vd_err net_prepare(const struct net_spec *spec,
                        struct net **out) VD_MUST_USE;
void cpu_net_free(struct net *net);
/* oneDNN's name of the implementation of unit `i` in that direction, static;
 * NULL: not computed, or not by oneDNN. */
const char *net_implementation(const struct net *net, int i,
                               enum dnn_direction direction);
const char *net_layer_name(const struct net *net, int i);
enum vd_err cpu_release_workspace(struct net *net) VD_MUST_USE;
enum vd_err cpu_stage(struct net *net, const struct batch *batch) VD_MUST_USE;
enum vd_err cpu_results(struct net *net, struct result *out) VD_MUST_USE;
enum vd_err cpu_node_value(struct net *net, int node, float *out) VD_MUST_USE;
enum vd_err cpu_node_grad(struct net *net, int node, float *out) VD_MUST_USE;

/* Memory of a buffer of the plan; NULL for -1. */
float *net_buffer(const struct net *net, int buffer);
/* Memory of a node's value; of the input: the current staged batch. */
float *net_value(struct net *net, int node);
/* Entry `index` of the parameter table, and the values of parameter or
 * statistics tensor `index`. */
const struct graph_tensor *net_tensor(const struct net *net, int index);
const float *net_param(const struct net *net, int index);
const float *net_running(const struct net *net, int index);
/* Allocates the arena if there is none: before the first forward, and after
 * cpu_release_workspace(). */
enum vd_err net_ensure_workspace(struct net *net) VD_MUST_USE;
/* Sets the number of threads of the calling thread's OpenMP regions, including
 * oneDNN's; returns the previous number, for net_restore_threads(). */
int net_set_threads(int threads);
void net_restore_threads(int threads_before);

/* ---- cpu_packed_weights.c ---- */

/* Call after all units were made. Shares the packed weights of `share_from`, or
 * allocates new ones if it is NULL. */
enum vd_err packed_weights_open(struct net *net,
                                const struct net *share_from) VD_MUST_USE;
void packed_weights_close(struct net *net);
/* Packs the weights again if they have changed. */
enum vd_err packed_weights_refresh(struct net *net) VD_MUST_USE;
/* Call before weights->version++ of an update that changes no frozen weights:
 * keeps their packed copies valid. */
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
/* Length of net->norm_partials. */
size_t optim_n_partials(const struct graph *g);

#endif
