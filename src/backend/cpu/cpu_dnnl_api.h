/*
 * The part of oneDNN's C interface that differs between 2.x and 3.x, with one
 * signature for both. It is implemented in cpu_dnnl_api_2.c and
 * cpu_dnnl_api_3.c; CMake selects the file from the version in oneDNN's
 * header. Each function makes one or two oneDNN calls and returns the status.
 *
 * Local; thread-safe for distinct objects.
 */
#ifndef VOCDIST_BACKEND_CPU_DNNL_API_H
#define VOCDIST_BACKEND_CPU_DNNL_API_H

#include <dnnl.h>
#include <dnnl_debug.h>

/* A read-only memory descriptor: shape, type and layout of a tensor. */
#if DNNL_VERSION_MAJOR == 2
typedef const dnnl_memory_desc_t *dnnl_md;
#elif DNNL_VERSION_MAJOR == 3
typedef const_dnnl_memory_desc_t dnnl_md;
#else
#error "oneDNN 2.x or 3.x is required"
#endif

/* Describes a float32 tensor of this shape and layout. Free *md with
 * api_md_free(), also after an error. */
dnnl_status_t api_md_new(dnnl_md *md, int n, const dnnl_dim_t *dims,
                         dnnl_format_tag_t tag);
void api_md_free(dnnl_md md);

/* Requests equal bits in every execution with the same number of threads. */
dnnl_status_t api_set_deterministic(dnnl_primitive_attr_t attr);

/* What a primitive computes. */
struct api_request {
    dnnl_prop_kind_t kind; /* forward training or inference, backward data or
                              weights */
    dnnl_alg_kind_t algorithm;
    dnnl_md src, weights, bias, dst; /* named as in forward; bias: or NULL */
    dnnl_dims_t kernel, stride, pad; /* kernel: pooling only */
    const_dnnl_primitive_attr_t attr;
    const_dnnl_primitive_desc_t hint; /* backward: the forward descriptor */
};

/* Create a primitive descriptor. dnnl_unimplemented: oneDNN has no
 * implementation for this request. */
dnnl_status_t api_conv(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd);
dnnl_status_t api_linear(dnnl_engine_t engine, const struct api_request *r,
                         dnnl_primitive_desc_t *pd);
dnnl_status_t api_pool(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd);

/* Append a post-op: dst = result + dst, or dst = max(result, 0). */
dnnl_status_t api_append_sum(dnnl_post_ops_t ops);
dnnl_status_t api_append_relu(dnnl_post_ops_t ops);

#endif
