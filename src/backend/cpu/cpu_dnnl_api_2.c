/* oneDNN 2.x: a primitive descriptor is created from an operation
 * descriptor; memory descriptors are plain structs. */
#include "backend/cpu/cpu_dnnl_api.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <stdlib.h>

dnnl_status_t api_md_new(dnnl_md *md, int n, const dnnl_dim_t *dims,
                         dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t *made = xcalloc(1, sizeof *made);
    *md = made;
    return dnnl_memory_desc_init_by_tag(made, n, dims, dnnl_f32, tag);
}

void api_md_free(dnnl_md md)
{
    free((dnnl_memory_desc_t *)(uintptr_t)md);
}

dnnl_status_t api_set_deterministic(dnnl_primitive_attr_t attr)
{
    (void)attr; /* 2.x is always deterministic for a given thread count */
    return dnnl_success;
}

static bool is_forward(const struct api_request *r)
{
    return r->kind == dnnl_forward_training ||
           r->kind == dnnl_forward_inference;
}

/* `status`: returned by the call that initialized `desc`. */
static dnnl_status_t make_pd(dnnl_status_t status, const_dnnl_op_desc_t desc,
                             dnnl_engine_t engine, const struct api_request *r,
                             dnnl_primitive_desc_t *pd)
{
    if (status != dnnl_success)
        return status;
    return dnnl_primitive_desc_create(pd, desc, r->attr, engine, r->hint);
}

dnnl_status_t api_conv(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd)
{
    dnnl_convolution_desc_t desc;
    dnnl_status_t status;
    if (is_forward(r))
        status = dnnl_convolution_forward_desc_init(
            &desc, r->kind, r->algorithm, r->src, r->weights, r->bias, r->dst,
            r->stride, r->pad, r->pad);
    else if (r->kind == dnnl_backward_data)
        status = dnnl_convolution_backward_data_desc_init(
            &desc, r->algorithm, r->src, r->weights, r->dst, r->stride, r->pad,
            r->pad);
    else
        status = dnnl_convolution_backward_weights_desc_init(
            &desc, r->algorithm, r->src, r->weights, r->bias, r->dst, r->stride,
            r->pad, r->pad);
    return make_pd(status, &desc, engine, r, pd);
}

dnnl_status_t api_linear(dnnl_engine_t engine, const struct api_request *r,
                         dnnl_primitive_desc_t *pd)
{
    dnnl_inner_product_desc_t desc;
    dnnl_status_t status;
    if (is_forward(r))
        status = dnnl_inner_product_forward_desc_init(
            &desc, r->kind, r->src, r->weights, r->bias, r->dst);
    else if (r->kind == dnnl_backward_data)
        status = dnnl_inner_product_backward_data_desc_init(&desc, r->src,
                                                            r->weights, r->dst);
    else
        status = dnnl_inner_product_backward_weights_desc_init(
            &desc, r->src, r->weights, r->bias, r->dst);
    return make_pd(status, &desc, engine, r, pd);
}

dnnl_status_t api_pool(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd)
{
    dnnl_pooling_desc_t desc;
    dnnl_status_t status;
    if (is_forward(r))
        status = dnnl_pooling_forward_desc_init(&desc, r->kind, r->algorithm,
                                                r->src, r->dst, r->stride,
                                                r->kernel, r->pad, r->pad);
    else
        status = dnnl_pooling_backward_desc_init(&desc, r->algorithm, r->src,
                                                 r->dst, r->stride, r->kernel,
                                                 r->pad, r->pad);
    return make_pd(status, &desc, engine, r, pd);
}

dnnl_status_t api_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

dnnl_status_t api_append_relu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
}
