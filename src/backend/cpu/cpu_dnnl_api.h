/*
 * The part of oneDNN's C interface that differs between 2.x and 3.x, with one
 * signature for both: cpu_dnnl_api_2.c or cpu_dnnl_api_3.c, chosen by CMake
 * from the version of the header. Thin: each function is one or two calls of
 * oneDNN and returns its status.
 *
 * Local; thread-safe for distinct objects.
 */
#ifndef VOCDIST_BACKEND_CPU_DNNL_API_H
#define VOCDIST_BACKEND_CPU_DNNL_API_H

#include "backend/cpu/cpu_dnnl.h"

#include <dnnl.h>
#include <dnnl_debug.h>

/* A memory descriptor (shape, type and layout of a tensor), read only. */
#if DNNL_VERSION_MAJOR == 2
typedef const dnnl_memory_desc_t *dnnl_md;
#elif DNNL_VERSION_MAJOR == 3
typedef const_dnnl_memory_desc_t dnnl_md;
#else
#error "oneDNN 2.x or 3.x is needed"
#endif

/* float32 of this shape and layout; api_md_free() it. */
dnnl_status_t api_md_new(dnnl_md *md, int n, const dnnl_dim_t *dims,
                         dnnl_format_tag_t tag);
void api_md_free(dnnl_md md);

/* The same bits at every execution with the same number of threads. */
dnnl_status_t api_set_deterministic(dnnl_primitive_attr_t attr);

/* What a primitive is to compute. */
struct api_request {
    enum dnn_direction direction;
    bool inference; /* forward: without what backward needs */
    dnnl_alg_kind_t algorithm;
    dnnl_md src, weights, bias, dst; /* of forward; bias NULL: none */
    dnnl_dims_t kernel, stride, pad; /* kernel: of pooling only */
    const_dnnl_primitive_attr_t attr;
    const_dnnl_primitive_desc_t hint; /* the forward one; NULL for forward */
};

/* dnnl_unimplemented: oneDNN has nothing for this request. */
dnnl_status_t api_conv(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd);
dnnl_status_t api_linear(dnnl_engine_t engine, const struct api_request *r,
                         dnnl_primitive_desc_t *pd);
dnnl_status_t api_pool(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd);

/* dst = result + dst, dst = max(result, 0): appended to what a primitive does
 */
dnnl_status_t api_append_sum(dnnl_post_ops_t ops);
dnnl_status_t api_append_relu(dnnl_post_ops_t ops);

#endif
