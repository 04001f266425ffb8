/* oneDNN 3.x: one call creates a primitive descriptor; memory descriptors are
 * opaque. */
#include "backend/cpu/cpu_dnnl_api.h"

#include <stdbool.h>

static const dnnl_dims_t no_dilation;

dnnl_status_t api_md_new(dnnl_md *md, int n, const dnnl_dim_t *dims,
                         dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t made = NULL;
    dnnl_status_t status =
        dnnl_memory_desc_create_with_tag(&made, n, dims, dnnl_f32, tag);
    *md = made;
    return status;
}

void api_md_free(dnnl_md md)
{
    dnnl_memory_desc_destroy((dnnl_memory_desc_t)(uintptr_t)md);
}

dnnl_status_t api_set_deterministic(dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MINOR >= 4
    return dnnl_primitive_attr_set_deterministic(attr, 1);
#else
    (void)attr;
    return dnnl_success;
#endif
}

static bool is_forward(const struct api_request *r)
{
    return r->kind == dnnl_forward_training ||
           r->kind == dnnl_forward_inference;
}

dnnl_status_t api_conv(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd)
{
    if (is_forward(r))
        return dnnl_convolution_forward_primitive_desc_create(
            pd, engine, r->kind, r->algorithm, r->src, r->weights, r->bias,
            r->dst, r->stride, no_dilation, r->pad, r->pad, r->attr);
    if (r->kind == dnnl_backward_data)
        return dnnl_convolution_backward_data_primitive_desc_create(
            pd, engine, r->algorithm, r->src, r->weights, r->dst, r->stride,
            no_dilation, r->pad, r->pad, r->hint, r->attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, r->algorithm, r->src, r->weights, r->bias, r->dst,
        r->stride, no_dilation, r->pad, r->pad, r->hint, r->attr);
}

dnnl_status_t api_linear(dnnl_engine_t engine, const struct api_request *r,
                         dnnl_primitive_desc_t *pd)
{
    if (is_forward(r))
        return dnnl_inner_product_forward_primitive_desc_create(
            pd, engine, r->kind, r->src, r->weights, r->bias, r->dst, r->attr);
    if (r->kind == dnnl_backward_data)
        return dnnl_inner_product_backward_data_primitive_desc_create(
            pd, engine, r->src, r->weights, r->dst, r->hint, r->attr);
    return dnnl_inner_product_backward_weights_primitive_desc_create(
        pd, engine, r->src, r->weights, r->bias, r->dst, r->hint, r->attr);
}

dnnl_status_t api_pool(dnnl_engine_t engine, const struct api_request *r,
                       dnnl_primitive_desc_t *pd)
{
    if (is_forward(r))
        return dnnl_pooling_forward_primitive_desc_create(
            pd, engine, r->kind, r->algorithm, r->src, r->dst, r->stride,
            r->kernel, no_dilation, r->pad, r->pad, r->attr);
    return dnnl_pooling_backward_primitive_desc_create(
        pd, engine, r->algorithm, r->src, r->dst, r->stride, r->kernel,
        no_dilation, r->pad, r->pad, r->hint, r->attr);
}

dnnl_status_t api_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

dnnl_status_t api_append_relu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
}
