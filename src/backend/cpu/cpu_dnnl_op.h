/*
 * Inside of cpu_dnnl*.c: one oneDNN primitive with its arguments, and what
 * the primitives of a net share. The only include of dnnl.h.
 */
#ifndef VOCDIST_BACKEND_CPU_DNNL_OP_H
#define VOCDIST_BACKEND_CPU_DNNL_OP_H

#include "backend/cpu/cpu_dnnl.h"
#include "base/memory.h"

#include <dnnl.h>
#include <dnnl_debug.h>

#if DNNL_VERSION_MAJOR != 2
#error "this is written for oneDNN 2.x"
#endif

#define DNN_TRY(call)                                          \
    do {                                                       \
        dnnl_status_t status_ = (call);                        \
        if (status_ == dnnl_out_of_memory)                     \
            return memory_refused("oneDNN: " #call, 0);        \
        if (status_ != dnnl_success)                           \
            return VD_FAIL(VD_DEVICE, "oneDNN: %s: %s", #call, \
                           dnnl_status2str(status_));          \
    } while (0)

/* The directions of a primitive. */
enum { FORWARD, DATA, WEIGHTS, DIRECTIONS };

struct dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* scratch memory comes from us */
    void *scratch;              /* borrowed; used by one primitive at a time */
    float *grad;                /* owned; weights gradient before reordering */
    float *wide;                /* owned; weights with padding channels */
    size_t scratch_bytes[DNN_WORKS], grad_bytes, wide_bytes, own_bytes;
};

#define MAX_ARGS 7

struct op {
    struct dnn *dnn;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[MAX_ARGS]; /* the first is the scratch memory */
    int n;
};

const dnnl_memory_desc_t *op_md(const struct op *op, dnnl_query_t what);
/* Makes op->pd executable. Arguments are added next, by op_arg. */
enum vd_err op_finish(struct dnn *d, struct op *op,
                      enum dnn_work work) VD_MUST_USE;
enum vd_err op_arg(struct op *op, int id,
                   const dnnl_memory_desc_t *md) VD_MUST_USE;
/* `data` in the order of op_arg. */
enum vd_err op_run(struct op *op, const void *const *data) VD_MUST_USE;
void op_clear(struct op *op);

/* float32 of this shape and layout; a map is plain or blocked. */
enum vd_err op_describe(dnnl_memory_desc_t *md, int n, const dnnl_dim_t *dims,
                        dnnl_format_tag_t tag) VD_MUST_USE;
enum vd_err op_describe_map(dnnl_memory_desc_t *md, bool plain,
                            const dnnl_dim_t dims[4]) VD_MUST_USE;
/* Memory that the caller owns: mem_free() it. Counted in dnn_bytes(). */
enum vd_err op_own(struct dnn *d, float **out, size_t bytes,
                   const char *what) VD_MUST_USE;
void op_at_least(size_t *bytes, size_t n);

#endif
