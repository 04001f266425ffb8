/*
 * What all oneDNN primitives of a net share: engine, stream, attributes,
 * scratchpad, and memory objects without data (op_run() sets the pointers).
 *
 *   1. Making an object creates primitive descriptors: oneDNN selects the
 *      implementation and reports its scratchpad size. op_register() queues
 *      each descriptor.
 *   2. dnn_commit() creates the queued primitives (oneDNN generates their
 *      code) and allocates the buffers that they share.
 *   3. op_run() executes one primitive and waits for it.
 *
 * Invariant: one primitive at a time uses the scratchpad, which the caller
 * provides (dnnl_scratchpad_mode_user); oneDNN allocates none itself.
 */
#include "backend/cpu/cpu_dnnl.h"

#include "backend/cpu/cpu_dnnl_internal.h"
#include "base/alloc.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the processor's instruction set ---- */

/* Bits of dnnl_cpu_isa_t. */
#define ISA_AVX2        0x7u
#define ISA_AVX512_CORE 0x27u

/* oneDNN crashes if an allocation fails while it creates descriptors or
 * generates code. It needs less than this for the descriptors of a layer, or
 * for the code of a primitive. */
#define ONEDNN_HEADROOM_BYTES ((size_t)64 << 20)

static unsigned onednn_isa(void)
{
    return (unsigned)dnnl_get_effective_cpu_isa();
}

int dnn_vector_bits(void)
{
    if ((onednn_isa() & ISA_AVX512_CORE) == ISA_AVX512_CORE)
        return 512;
    return (onednn_isa() & ISA_AVX2) == ISA_AVX2 ? 256 : 0;
}

int dnn_block(void)
{
    return dnn_vector_bits() == 512 ? 16 : 8;
}

int32_t dnn_padded_channels(int32_t channels)
{
    int32_t block = dnn_block();
    return (channels + block - 1) / block * block;
}

void dnn_describe(char *text, size_t n)
{
    const dnnl_version_t *v = dnnl_version();
    const char *name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
    const char prefix[] = "cpu_isa_";
    size_t skip = sizeof prefix - 1;
    if (strncmp(name, prefix, skip) != 0)
        skip = 0;
    snprintf(text, n, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch,
             name + skip);
}

/* ---- shared by the primitives of a net ---- */

enum vd_err dnn_new(struct dnn **out)
{
    struct dnn *d = xcalloc(1, sizeof *d);
    *out = d;
    DNN_TRY(dnnl_engine_create(&d->engine, dnnl_cpu, 0));
    DNN_TRY(
        dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags));
    DNN_TRY(dnnl_primitive_attr_create(&d->attr));
    DNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(d->attr,
                                                    dnnl_scratchpad_mode_user));
    DNN_TRY(api_set_deterministic(d->attr));
    return VD_OK;
}

void dnn_free(struct dnn *d)
{
    if (!d)
        return;
    alloc_aligned_free(d->padded_weights);
    alloc_aligned_free(d->grad);
    for (size_t i = 0; i < d->n_mds; i++)
        api_md_free(d->mds[i]);
    free(d->mds);
    free(d->pending);
    if (d->attr)
        dnnl_primitive_attr_destroy(d->attr);
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    free(d);
}

enum vd_err dnn_check_headroom(const char *what)
{
    return memory_check_available(what, ONEDNN_HEADROOM_BYTES);
}

enum vd_err dnn_commit(struct dnn *d)
{
    void *grad = NULL, *padded = NULL;
    for (size_t i = 0; i < d->n_pending; i++) {
        struct op *op = d->pending[i];
        VD_TRY(dnn_check_headroom("oneDNN's code"));
        DNN_TRY(dnnl_primitive_create(&op->primitive, op->pd));
    }
    d->n_pending = 0;
    VD_TRY(alloc_aligned(&grad, d->grad_bytes, 1, "weights gradient"));
    d->grad = grad;
    VD_TRY(
        alloc_aligned(&padded, d->padded_weights_bytes, 1, "padded weights"));
    d->padded_weights = padded;
    return VD_OK;
}

size_t dnn_bytes(const struct dnn *d)
{
    return d->grad_bytes + d->padded_weights_bytes + d->owned_bytes;
}

size_t dnn_reset_scratch_bytes(struct dnn *d, enum dnn_work work)
{
    size_t bytes = d->scratch_bytes[work];
    d->scratch_bytes[work] = 0;
    return bytes;
}

void dnn_use_scratch(struct dnn *d, void *scratch)
{
    d->scratch = scratch;
}

void op_raise_to(size_t *bytes, size_t n)
{
    if (*bytes < n)
        *bytes = n;
}

/* ---- one primitive with its arguments ---- */

dnnl_md op_md(const struct op *op, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(op->pd, what, 0);
}

const char *op_implementation(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    if (!pd || dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0,
                                         &name) != dnnl_success)
        return NULL;
    return name;
}

bool dnn_is_reference(const char *implementation)
{
    return strstr(implementation, "ref") != NULL;
}

enum vd_err op_arg(struct op *op, int id, dnnl_md md)
{
    VD_ASSERT(op->n < MAX_ARGS);
    dnnl_exec_arg_t *arg = &op->args[op->n];
    arg->arg = id;
    DNN_TRY(dnnl_memory_create(&arg->memory, md, op->dnn->engine,
                               DNNL_MEMORY_NONE));
    op->n++;
    return VD_OK;
}

enum vd_err op_register(struct dnn *d, struct op *op, enum dnn_work work)
{
    op->dnn = d;
    d->pending =
        xreallocarray(d->pending, d->n_pending + 1, sizeof *d->pending);
    d->pending[d->n_pending++] = op;
    dnnl_md md = op_md(op, dnnl_query_scratchpad_md);
    op_raise_to(&d->scratch_bytes[work], dnnl_memory_desc_get_size(md));
    return op_arg(op, DNNL_ARG_SCRATCHPAD, md);
}

void op_clear(struct op *op)
{
    for (int i = 0; i < op->n; i++)
        dnnl_memory_destroy(op->args[i].memory);
    if (op->primitive)
        dnnl_primitive_destroy(op->primitive);
    if (op->pd)
        dnnl_primitive_desc_destroy(op->pd);
    *op = (struct op){.n = 0};
}

enum vd_err op_run(struct op *op, const void *const *data)
{
    const struct dnn *d = op->dnn;
    DNN_TRY(dnnl_memory_set_data_handle(op->args[0].memory, d->scratch));
    for (int i = 1; i < op->n; i++)
        DNN_TRY(dnnl_memory_set_data_handle(op->args[i].memory,
                                            (void *)(uintptr_t)data[i - 1]));
    DNN_TRY(dnnl_primitive_execute(op->primitive, d->stream, op->n, op->args));
    DNN_TRY(dnnl_stream_wait(d->stream));
    return VD_OK;
}

enum vd_err op_describe(struct dnn *d, dnnl_md *md, int n,
                        const dnnl_dim_t *dims, dnnl_format_tag_t tag)
{
    d->mds = xreallocarray(d->mds, d->n_mds + 1, sizeof *d->mds);
    dnnl_status_t status = api_md_new(&d->mds[d->n_mds], n, dims, tag);
    *md = d->mds[d->n_mds++];
    DNN_TRY(status);
    return VD_OK;
}

enum vd_err op_describe_map(struct dnn *d, dnnl_md *md, bool plain,
                            const dnnl_dim_t dims[4])
{
    dnnl_format_tag_t blocked = dnn_block() == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    return op_describe(d, md, 4, dims, plain ? dnnl_nchw : blocked);
}

enum vd_err op_alloc_owned(struct dnn *d, float **out, size_t bytes,
                           const char *what)
{
    void *p = NULL;
    VD_TRY(alloc_aligned(&p, bytes, 1, what));
    *out = p;
    d->owned_bytes += bytes;
    return VD_OK;
}
