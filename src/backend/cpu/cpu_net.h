/*
 * A net of backend cpu: what net_new() makes, and the operations on it other
 * than the passes (cpu_pass.h). The functions cpu_*() are members of
 * backend_ops; backend.h describes them. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_NET_H
#define VOCDIST_BACKEND_CPU_NET_H

#include "backend/backend.h"
#include "backend/cpu/cpu_packed_weights.h"
#include "backend/cpu/cpu_plan.h"
#include "backend/cpu/cpu_simd.h"
#include "backend/cpu/cpu_unit.h"
#include "backend/result_queue.h"
#include "backend/staging.h"

struct net {
    /* Fixed once the net is made. */
    struct net_spec spec;
    const struct graph *graph;
    const struct simd *simd;
    struct plan plan;
    struct dnn *dnn;
    struct unit *units; /* [plan.n_units] */
    int folded_weights; /* plan buffer for one folded weight tensor */
    int pack_scratch;   /* plan buffer: scratchpad for packing */
    struct packed_weights *packed_weights; /* shared, reference counted */

    /* Working memory; owned. */
    float *arena;          /* values, gradients, scratchpads; NULL: released */
    uint8_t *dropout_mask; /* [micro_batch, n]; NULL in evaluation */
    double *norm_partials; /* partial sums of the gradient norm; or NULL */
    struct staging staging;
    struct result_queue unread;

    /* Written by the last forward (cpu_pass.c) and the last update. */
    struct step_scalars scalars;
    struct result *results; /* [micro_batch], in `unread` */
    bool *overflowed; /* [micro_batch], owned: values may have overflowed */
    bool loss_finite; /* all losses were finite */
};

enum vd_err cpu_net_new(struct backend *b, const struct net_spec *spec,
                        struct net **out) VD_MUST_USE;
/* Makes the plan and the descriptors of all layers: implementations and
 * offsets are known then. Generates no code and allocates no large memory.
 * cpu_net_free() it. */
enum vd_err net_prepare(const struct net_spec *spec,
                        struct net **out) VD_MUST_USE;
void cpu_net_free(struct net *net);
enum vd_err cpu_release_workspace(struct net *net) VD_MUST_USE;

enum vd_err cpu_stage(struct net *net, const struct batch *batch) VD_MUST_USE;
enum vd_err cpu_done(struct net *net, bool *done) VD_MUST_USE;
enum vd_err cpu_results(struct net *net, struct result *out) VD_MUST_USE;
enum vd_err cpu_node_value(struct net *net, int node, float *out) VD_MUST_USE;
enum vd_err cpu_node_grad(struct net *net, int node, float *out) VD_MUST_USE;

enum vd_err cpu_update(struct net *net, struct buf *exchange) VD_MUST_USE;
enum vd_err cpu_update_result(struct net *net,
                              struct update_result *out) VD_MUST_USE;
enum vd_err cpu_add(struct net *net, struct buf *dst, const struct buf *src,
                    struct range range) VD_MUST_USE;
enum vd_err cpu_divide(struct net *net, struct buf *buf, struct range range,
                       float by) VD_MUST_USE;

/* ---- for cpu_pass.c ---- */

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

#endif
