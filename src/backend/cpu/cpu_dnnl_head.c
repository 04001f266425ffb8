/* Linear and max pooling. */
#include "backend/cpu/cpu_dnnl_op.h"
#include "base/mem.h"

/* ---- linear ---- */

struct dnn_linear {
    struct op op[DIRECTIONS];
};

static enum vd_err linear_make(struct dnn *d, struct dnn_linear *l,
                               const dnnl_dim_t *src_dims,
                               const dnnl_dim_t *dst_dims, bool backward)
{
    dnnl_memory_desc_t src, dst, weights, bias;
    dnnl_dim_t weights_dims[] = {dst_dims[1], src_dims[1]};
    dnnl_inner_product_desc_t desc;
    VD_TRY(op_describe(&src, 2, src_dims, dnnl_nc));
    VD_TRY(op_describe(&dst, 2, dst_dims, dnnl_nc));
    VD_TRY(op_describe(&weights, 2, weights_dims, dnnl_oi));
    VD_TRY(op_describe(&bias, 1, &dst_dims[1], dnnl_a));

    struct op *op = &l->op[FORWARD];
    DNN_TRY(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_training,
                                                 &src, &weights, &bias, &dst));
    DNN_TRY(
        dnnl_primitive_desc_create(&op->pd, &desc, d->attr, d->engine, NULL));
    VD_TRY(op_finish(d, op, DNN_FORWARD));
    VD_TRY(op_arg(op, DNNL_ARG_SRC, &src));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, &weights));
    VD_TRY(op_arg(op, DNNL_ARG_BIAS, &bias));
    VD_TRY(op_arg(op, DNNL_ARG_DST, &dst));
    if (!backward)
        return VD_OK;

    const_dnnl_primitive_desc_t hint = op->pd;
    op = &l->op[WEIGHTS];
    DNN_TRY(dnnl_inner_product_backward_weights_desc_init(&desc, &src, &weights,
                                                          &bias, &dst));
    DNN_TRY(
        dnnl_primitive_desc_create(&op->pd, &desc, d->attr, d->engine, hint));
    VD_TRY(op_finish(d, op, DNN_BACKWARD));
    VD_TRY(op_arg(op, DNNL_ARG_SRC, &src));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, &dst));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_WEIGHTS, &weights));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_BIAS, &bias));

    op = &l->op[DATA];
    DNN_TRY(dnnl_inner_product_backward_data_desc_init(&desc, &src, &weights,
                                                       &dst));
    DNN_TRY(
        dnnl_primitive_desc_create(&op->pd, &desc, d->attr, d->engine, hint));
    VD_TRY(op_finish(d, op, DNN_BACKWARD));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, &dst));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, &weights));
    return op_arg(op, DNNL_ARG_DIFF_SRC, &src);
}

enum vd_err dnn_linear_new(struct dnn *d, int32_t batch, int32_t in,
                           int32_t out_width, bool backward,
                           struct dnn_linear **out)
{
    struct dnn_linear *l = mem_new(1, sizeof *l);
    enum vd_err err = linear_make(d, l, (dnnl_dim_t[]){batch, in},
                                  (dnnl_dim_t[]){batch, out_width}, backward);
    if (err) {
        dnn_linear_free(l);
        return err;
    }
    *out = l;
    return VD_OK;
}

void dnn_linear_free(struct dnn_linear *l)
{
    if (!l)
        return;
    for (int i = 0; i < DIRECTIONS; i++)
        op_clear(&l->op[i]);
    mem_free(l);
}

enum vd_err dnn_linear_forward(struct dnn_linear *l, const float *src,
                               const float *weights, const float *bias,
                               float *dst)
{
    return op_run(&l->op[FORWARD], (const void *[]){src, weights, bias, dst});
}

enum vd_err dnn_linear_backward_weights(struct dnn_linear *l, const float *src,
                                        const float *dst_grad,
                                        float *weights_grad, float *bias_grad)
{
    return op_run(&l->op[WEIGHTS],
                  (const void *[]){src, dst_grad, weights_grad, bias_grad});
}

enum vd_err dnn_linear_backward_data(struct dnn_linear *l, const float *weights,
                                     const float *dst_grad, float *src_grad)
{
    return op_run(&l->op[DATA], (const void *[]){dst_grad, weights, src_grad});
}

/* ---- max pooling ---- */

struct dnn_pool {
    struct op forward, backward;
    float *winners; /* owned; NULL without backward */
};

static enum vd_err pool_make(struct dnn *d, struct dnn_pool *p,
                             const struct dnn_pool_spec *s)
{
    int32_t c = s->plain ? s->c : dnn_padded(s->c);
    dnnl_dim_t in[] = {s->batch, c, s->ih, s->iw};
    dnnl_dim_t result[] = {s->batch, c, s->oh, s->ow};
    dnnl_dims_t kernel = {s->kernel, s->kernel}, pad = {s->pad, s->pad};
    dnnl_dims_t stride = {s->stride, s->stride};
    dnnl_memory_desc_t src, dst;
    dnnl_pooling_desc_t desc;
    VD_TRY(op_describe_map(&src, s->plain, in));
    VD_TRY(op_describe_map(&dst, s->plain, result));
    DNN_TRY(dnnl_pooling_forward_desc_init(
        &desc, s->backward ? dnnl_forward_training : dnnl_forward_inference,
        dnnl_pooling_max, &src, &dst, stride, kernel, pad, pad));
    DNN_TRY(dnnl_primitive_desc_create(&p->forward.pd, &desc, d->attr,
                                       d->engine, NULL));
    VD_TRY(op_finish(d, &p->forward, DNN_FORWARD));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_SRC, &src));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_DST, &dst));
    if (!s->backward)
        return VD_OK;

    const dnnl_memory_desc_t *winners =
        op_md(&p->forward, dnnl_query_workspace_md);
    VD_TRY(op_own(d, &p->winners, dnnl_memory_desc_get_size(winners),
                  "pooling workspace"));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_WORKSPACE, winners));
    DNN_TRY(dnnl_pooling_backward_desc_init(&desc, dnnl_pooling_max, &src, &dst,
                                            stride, kernel, pad, pad));
    DNN_TRY(dnnl_primitive_desc_create(&p->backward.pd, &desc, d->attr,
                                       d->engine, p->forward.pd));
    VD_TRY(op_finish(d, &p->backward, DNN_BACKWARD));
    VD_TRY(op_arg(&p->backward, DNNL_ARG_DIFF_DST, &dst));
    VD_TRY(op_arg(&p->backward, DNNL_ARG_DIFF_SRC, &src));
    return op_arg(&p->backward, DNNL_ARG_WORKSPACE, winners);
}

enum vd_err dnn_pool_new(struct dnn *d, const struct dnn_pool_spec *spec,
                         struct dnn_pool **out)
{
    struct dnn_pool *p = mem_new(1, sizeof *p);
    enum vd_err err = pool_make(d, p, spec);
    if (err) {
        dnn_pool_free(p);
        return err;
    }
    *out = p;
    return VD_OK;
}

void dnn_pool_free(struct dnn_pool *p)
{
    if (!p)
        return;
    op_clear(&p->forward);
    op_clear(&p->backward);
    mem_free(p->winners);
    mem_free(p);
}

enum vd_err dnn_pool_forward(struct dnn_pool *p, const float *src, float *dst)
{
    return op_run(&p->forward, (const void *[]){src, dst, p->winners});
}

enum vd_err dnn_pool_backward(struct dnn_pool *p, const float *dst_grad,
                              float *src_grad)
{
    return op_run(&p->backward,
                  (const void *[]){dst_grad, src_grad, p->winners});
}
