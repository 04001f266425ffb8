/*
 * Internal to cpu_dnnl*.c: one oneDNN primitive with its arguments, and what
 * the primitives of a net share.
 *
 * A primitive is created in two phases: its descriptor, which determines the
 * implementation and the scratchpad size, together with its object; its code
 * in dnn_commit().
 */
#ifndef VOCDIST_BACKEND_CPU_DNNL_INTERNAL_H
#define VOCDIST_BACKEND_CPU_DNNL_INTERNAL_H

#include "backend/cpu/cpu_dnnl.h"
#include "backend/cpu/cpu_dnnl_api.h"
#include "base/memory.h"

#define DNN_TRY(call)                                          \
    do {                                                       \
        dnnl_status_t status_ = (call);                        \
        if (status_ == dnnl_out_of_memory)                     \
            return memory_raise_oom("oneDNN: " #call, 0);      \
        if (status_ != dnnl_success)                           \
            return VD_FAIL(VD_DEVICE, "oneDNN: %s: %s", #call, \
                           dnnl_status2str(status_));          \
    } while (0)

struct dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* scratchpad from the caller; deterministic */
    dnnl_md *mds;               /* owned: every result of op_describe() */
    size_t n_mds;
    struct op **pending; /* owned array of borrowed ops without code */
    size_t n_pending;
    void *scratch;         /* borrowed; one primitive at a time uses it */
    float *grad;           /* owned; weights gradient in oneDNN's layout */
    float *padded_weights; /* owned; weights with padding channels */
    size_t scratch_bytes[DNN_WORKS], grad_bytes, padded_weights_bytes,
        owned_bytes;
};

#define MAX_ARGS 7

struct op {
    struct dnn *dnn;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;     /* NULL until dnn_commit() */
    dnnl_exec_arg_t args[MAX_ARGS]; /* the first is the scratchpad */
    int n;
};

/* Call before the descriptors of a layer are created, and before code is
 * generated: VD_SYSTEM if there is too little memory for oneDNN. */
enum vd_err dnn_check_headroom(const char *what) VD_MUST_USE;

dnnl_md op_md(const struct op *op, dnnl_query_t what);
/* oneDNN's name of the descriptor's implementation; NULL if pd is NULL. */
const char *op_implementation(const_dnnl_primitive_desc_t pd);
/* Queues op->pd for dnn_commit(), raises the scratchpad size of `work` and
 * adds the scratchpad as first argument. Add the others with op_arg(). `op`
 * must not move in memory afterwards. */
enum vd_err op_register(struct dnn *d, struct op *op,
                        enum dnn_work work) VD_MUST_USE;
enum vd_err op_arg(struct op *op, int id, dnnl_md md) VD_MUST_USE;
/* Executes and waits. `data`: one pointer per op_arg(), in that order. */
enum vd_err op_run(struct op *op, const void *const *data) VD_MUST_USE;
void op_clear(struct op *op);

/* Describe a float32 tensor of this shape and layout, or a plain or blocked
 * map. *md is valid until dnn_free(). */
enum vd_err op_describe(struct dnn *d, dnnl_md *md, int n,
                        const dnnl_dim_t *dims,
                        dnnl_format_tag_t tag) VD_MUST_USE;
enum vd_err op_describe_map(struct dnn *d, dnnl_md *md, bool plain,
                            const dnnl_dim_t dims[4]) VD_MUST_USE;
/* Allocates memory that the caller owns (alloc_aligned_free() it) and adds it
 * to dnn_bytes(). */
enum vd_err op_alloc_owned(struct dnn *d, float **out, size_t bytes,
                           const char *what) VD_MUST_USE;
/* *bytes = max(*bytes, n) */
void op_raise_to(size_t *bytes, size_t n);

#endif
