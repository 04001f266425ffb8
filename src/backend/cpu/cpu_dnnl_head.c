/*
 * Linear (oneDNN inner product: one primitive per direction) and max pooling
 * (oneDNN pooling_max: forward and backward).
 *
 * Each object creates its forward descriptor first: the backward descriptors
 * need it as their hint. The linear layer uses the weights in the canonical
 * layout; it needs no packed copy. Max pooling for training owns a workspace
 * in which forward stores the position of each window's maximum for backward.
 */
#include "backend/cpu/cpu_dnnl_internal.h"
#include "base/alloc.h"

#include <stdlib.h>

/* ---- linear ---- */

struct dnn_linear {
    struct op op[DNN_DIRECTIONS];
};

static enum vd_err linear_describe(struct dnn *d, const dnnl_dim_t *src_dims,
                                   const dnnl_dim_t *dst_dims,
                                   struct api_request *r)
{
    dnnl_dim_t weights_dims[] = {dst_dims[1], src_dims[1]};
    *r = (struct api_request){.attr = d->attr};
    VD_TRY(op_describe(d, &r->src, 2, src_dims, dnnl_nc));
    VD_TRY(op_describe(d, &r->dst, 2, dst_dims, dnnl_nc));
    VD_TRY(op_describe(d, &r->weights, 2, weights_dims, dnnl_oi));
    return op_describe(d, &r->bias, 1, &dst_dims[1], dnnl_a);
}

static enum vd_err linear_make(struct dnn *d, struct dnn_linear *l,
                               const dnnl_dim_t *src_dims,
                               const dnnl_dim_t *dst_dims, bool backward)
{
    struct api_request r;
    VD_TRY(linear_describe(d, src_dims, dst_dims, &r));
    struct op *op = &l->op[DNN_FWD];
    r.kind = dnnl_forward_training;
    DNN_TRY(api_linear(d->engine, &r, &op->pd));
    VD_TRY(op_register(d, op, DNN_FORWARD));
    VD_TRY(op_arg(op, DNNL_ARG_SRC, r.src));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, r.weights));
    VD_TRY(op_arg(op, DNNL_ARG_BIAS, r.bias));
    VD_TRY(op_arg(op, DNNL_ARG_DST, r.dst));
    if (!backward)
        return VD_OK;

    r.hint = op->pd;
    r.kind = dnnl_backward_weights;
    op = &l->op[DNN_BWD_WEIGHTS];
    DNN_TRY(api_linear(d->engine, &r, &op->pd));
    VD_TRY(op_register(d, op, DNN_BACKWARD));
    VD_TRY(op_arg(op, DNNL_ARG_SRC, r.src));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, r.dst));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_WEIGHTS, r.weights));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_BIAS, r.bias));

    r.kind = dnnl_backward_data;
    op = &l->op[DNN_BWD_DATA];
    DNN_TRY(api_linear(d->engine, &r, &op->pd));
    VD_TRY(op_register(d, op, DNN_BACKWARD));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, r.dst));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, r.weights));
    return op_arg(op, DNNL_ARG_DIFF_SRC, r.src);
}

enum vd_err dnn_linear_new(struct dnn *d, int32_t batch, int32_t in,
                           int32_t out_width, bool backward,
                           struct dnn_linear **out)
{
    struct dnn_linear *l = xcalloc(1, sizeof *l);
    enum vd_err err = dnn_check_headroom("oneDNN");
    if (!err)
        err = linear_make(d, l, (dnnl_dim_t[]){batch, in},
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
    for (int i = 0; i < DNN_DIRECTIONS; i++)
        op_clear(&l->op[i]);
    free(l);
}

const char *dnn_linear_implementation(const struct dnn_linear *l,
                                      enum dnn_direction direction)
{
    return op_implementation(l->op[direction].pd);
}

enum vd_err dnn_linear_forward(struct dnn_linear *l, const float *src,
                               const float *weights, const float *bias,
                               float *dst)
{
    return op_run(&l->op[DNN_FWD], (const void *[]){src, weights, bias, dst});
}

enum vd_err dnn_linear_backward_weights(struct dnn_linear *l, const float *src,
                                        const float *dst_grad,
                                        float *weights_grad, float *bias_grad)
{
    return op_run(&l->op[DNN_BWD_WEIGHTS],
                  (const void *[]){src, dst_grad, weights_grad, bias_grad});
}

enum vd_err dnn_linear_backward_data(struct dnn_linear *l, const float *weights,
                                     const float *dst_grad, float *src_grad)
{
    return op_run(&l->op[DNN_BWD_DATA],
                  (const void *[]){dst_grad, weights, src_grad});
}

/* ---- max pooling ---- */

struct dnn_pool {
    struct op forward, backward;
    float *workspace; /* owned; NULL without backward */
};

static enum vd_err pool_make(struct dnn *d, struct dnn_pool *p,
                             const struct dnn_pool_spec *s)
{
    int32_t c = s->plain ? s->c : dnn_padded_channels(s->c);
    dnnl_dim_t in[] = {s->batch, c, s->ih, s->iw};
    dnnl_dim_t result[] = {s->batch, c, s->oh, s->ow};
    struct api_request r = {.kind = s->backward ? dnnl_forward_training
                                                : dnnl_forward_inference,
                            .algorithm = dnnl_pooling_max,
                            .kernel = {s->kernel, s->kernel},
                            .stride = {s->stride, s->stride},
                            .pad = {s->pad, s->pad},
                            .attr = d->attr};
    VD_TRY(op_describe_map(d, &r.src, s->plain, in));
    VD_TRY(op_describe_map(d, &r.dst, s->plain, result));
    DNN_TRY(api_pool(d->engine, &r, &p->forward.pd));
    VD_TRY(op_register(d, &p->forward, DNN_FORWARD));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_SRC, r.src));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_DST, r.dst));
    if (!s->backward)
        return VD_OK;

    dnnl_md workspace = op_md(&p->forward, dnnl_query_workspace_md);
    VD_TRY(op_alloc_owned(d, &p->workspace,
                          dnnl_memory_desc_get_size(workspace),
                          "pooling workspace"));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_WORKSPACE, workspace));
    r.kind = dnnl_backward_data;
    r.hint = p->forward.pd;
    DNN_TRY(api_pool(d->engine, &r, &p->backward.pd));
    VD_TRY(op_register(d, &p->backward, DNN_BACKWARD));
    VD_TRY(op_arg(&p->backward, DNNL_ARG_DIFF_DST, r.dst));
    VD_TRY(op_arg(&p->backward, DNNL_ARG_DIFF_SRC, r.src));
    return op_arg(&p->backward, DNNL_ARG_WORKSPACE, workspace);
}

enum vd_err dnn_pool_new(struct dnn *d, const struct dnn_pool_spec *spec,
                         struct dnn_pool **out)
{
    struct dnn_pool *p = xcalloc(1, sizeof *p);
    enum vd_err err = dnn_check_headroom("oneDNN");
    if (!err)
        err = pool_make(d, p, spec);
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
    alloc_aligned_free(p->workspace);
    free(p);
}

const char *dnn_pool_implementation(const struct dnn_pool *p,
                                    enum dnn_direction direction)
{
    if (direction == DNN_BWD_WEIGHTS)
        return NULL;
    return op_implementation(
        (direction == DNN_FWD ? &p->forward : &p->backward)->pd);
}

enum vd_err dnn_pool_forward(struct dnn_pool *p, const float *src, float *dst)
{
    return op_run(&p->forward, (const void *[]){src, dst, p->workspace});
}

enum vd_err dnn_pool_backward(struct dnn_pool *p, const float *dst_grad,
                              float *src_grad)
{
    return op_run(&p->backward,
                  (const void *[]){dst_grad, src_grad, p->workspace});
}
