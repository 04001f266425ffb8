/* Convolution: direct or Winograd, and its packed weights. */
#include "backend/cpu/cpu_dnnl_op.h"
#include "base/mem.h"

#include <string.h>

static enum vd_err reorder_make(struct dnn *d, enum dnn_work work,
                                const dnnl_memory_desc_t *from,
                                const dnnl_memory_desc_t *to, struct op *op)
{
    DNN_TRY(dnnl_reorder_primitive_desc_create(&op->pd, from, d->engine, to,
                                               d->engine, d->attr));
    VD_TRY(op_finish(d, op, work));
    VD_TRY(op_arg(op, DNNL_ARG_FROM, from));
    return op_arg(op, DNNL_ARG_TO, to);
}

struct dnn_conv {
    struct dnn *dnn;
    struct dnn_conv_spec spec;
    struct op op[DIRECTIONS];
    /* Where the primitive wants other weights than the net holds. */
    struct op pack[2];  /* FORWARD, DATA */
    size_t n_packed[2]; /* elements; 0: it wants those */
    float *packed[2];   /* borrowed */
    struct op unpack;   /* weights gradient */
    dnnl_memory_desc_t src, dst, weights, bias;
    /* What oneDNN is told: it knows no padding. Padding channels of maps are
     * zeros, and weights get such channels on the way in. */
    int32_t ic, oc;
};

static bool is_padded(const struct dnn_conv *c)
{
    return c->ic != c->spec.ic || c->oc != c->spec.oc;
}

/* Copies the weights' [oc, ic, k, k] out of or into the wide ones. */
static void copy_wide(const struct dnn_conv *c, float *wide, float *weights,
                      bool widen)
{
    size_t window = (size_t)c->spec.kernel * (size_t)c->spec.kernel;
    size_t row = (size_t)c->spec.ic * window, step = (size_t)c->ic * window;
    for (int32_t o = 0; o < c->spec.oc; o++) {
        if (widen)
            memcpy(wide, weights, row * sizeof *wide);
        else
            memcpy(weights, wide, row * sizeof *wide);
        wide += step;
        weights += row;
    }
}

/*
 * Winograd F(4x4, 3x3) transforms the weights (a fixed cost) and works on
 * whole 4 x 4 tiles; direct convolution pays per pixel, and has a slower way
 * with weights gradients. All in units of what one pixel costs direct. From
 * processor times of 21 shapes, 64 to 512 channels, maps of 2 to 56 pixels,
 * batches of 1 to 32: it picks the faster one in all but near ties.
 */
static bool winograd_pays(const struct dnn_conv_spec *s, int direction)
{
    int64_t pixels = (int64_t)s->batch * s->oh * s->ow;
    int64_t tiles = (int64_t)s->batch * ((s->oh + 3) / 4) * ((s->ow + 3) / 4);
    int64_t cost = direction == WEIGHTS ? 128 + 3 * tiles : 192 + 5 * tiles;
    return s->kernel == 3 && s->stride == 1 && pixels >= cost;
}

/* VD_OK with *pd NULL: this algorithm does not exist for the shape. */
static enum vd_err conv_try(const struct dnn_conv *c, int direction,
                            const_dnnl_primitive_attr_t attr,
                            dnnl_alg_kind_t algorithm,
                            const dnnl_memory_desc_t *weights,
                            dnnl_primitive_desc_t *pd)
{
    const struct dnn_conv_spec *s = &c->spec;
    dnnl_convolution_desc_t desc;
    dnnl_dims_t stride = {s->stride, s->stride}, pad = {s->pad, s->pad};
    dnnl_prop_kind_t kind =
        s->folded ? dnnl_forward_inference : dnnl_forward_training;
    if (direction == FORWARD)
        DNN_TRY(dnnl_convolution_forward_desc_init(
            &desc, kind, algorithm, &c->src, weights,
            s->folded ? &c->bias : NULL, &c->dst, stride, pad, pad));
    else if (direction == DATA)
        DNN_TRY(dnnl_convolution_backward_data_desc_init(
            &desc, algorithm, &c->src, weights, &c->dst, stride, pad, pad));
    else
        DNN_TRY(dnnl_convolution_backward_weights_desc_init(
            &desc, algorithm, &c->src, weights, NULL, &c->dst, stride, pad,
            pad));
    const_dnnl_primitive_desc_t hint =
        direction == FORWARD ? NULL : c->op[FORWARD].pd;
    dnnl_status_t status =
        dnnl_primitive_desc_create(pd, &desc, attr, c->dnn->engine, hint);
    if (status == dnnl_unimplemented) {
        *pd = NULL;
        return VD_OK;
    }
    DNN_TRY(status);
    return VD_OK;
}

static enum vd_err conv_choose(struct dnn_conv *c, int direction,
                               const_dnnl_primitive_attr_t attr,
                               const dnnl_memory_desc_t *weights)
{
    dnnl_primitive_desc_t pd = NULL;
    if (winograd_pays(&c->spec, direction))
        VD_TRY(conv_try(c, direction, attr, dnnl_convolution_winograd, weights,
                        &pd));
    if (!pd)
        VD_TRY(conv_try(c, direction, attr, dnnl_convolution_direct, weights,
                        &pd));
    if (!pd)
        return VD_FAIL(VD_DEVICE,
                       "oneDNN: no convolution %dx%dx%d -> %d channels, "
                       "kernel %d",
                       c->spec.ic, c->spec.ih, c->spec.iw, c->spec.oc,
                       c->spec.kernel);
    c->op[direction].pd = pd;
    return op_finish(c->dnn, &c->op[direction],
                     direction == FORWARD ? DNN_FORWARD : DNN_BACKWARD);
}

/* A packed copy, unless the primitive takes the weights as they are. */
static enum vd_err conv_pack_make(struct dnn_conv *c, int direction)
{
    const dnnl_memory_desc_t *want =
        op_md(&c->op[direction], dnnl_query_weights_md);
    if (dnnl_memory_desc_equal(want, &c->weights) && !c->spec.folded &&
        !is_padded(c))
        return VD_OK;
    size_t line = 16 * sizeof(float);
    c->n_packed[direction] =
        (dnnl_memory_desc_get_size(want) + line - 1) / line * 16;
    return reorder_make(c->dnn, DNN_PACK, &c->weights, want,
                        &c->pack[direction]);
}

static enum vd_err conv_attr(const struct dnn_conv *c,
                             dnnl_primitive_attr_t *attr)
{
    dnnl_post_ops_t ops = NULL;
    DNN_TRY(dnnl_primitive_attr_clone(attr, c->dnn->attr));
    DNN_TRY(dnnl_post_ops_create(&ops));
    dnnl_status_t status = dnnl_success;
    if (c->spec.sum)
        status = dnnl_post_ops_append_sum(ops, 1);
    if (c->spec.relu && status == dnnl_success)
        status = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    dnnl_post_ops_destroy(ops);
    DNN_TRY(status);
    return VD_OK;
}

static enum vd_err conv_make_forward(struct dnn_conv *c,
                                     const dnnl_memory_desc_t *any)
{
    dnnl_primitive_attr_t attr = NULL;
    enum vd_err err = conv_attr(c, &attr);
    if (!err)
        err = conv_choose(c, FORWARD, attr, any);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    VD_TRY(err);

    struct op *op = &c->op[FORWARD];
    VD_TRY(op_arg(op, DNNL_ARG_SRC, &c->src));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, op_md(op, dnnl_query_weights_md)));
    VD_TRY(op_arg(op, DNNL_ARG_DST, &c->dst));
    if (c->spec.folded)
        VD_TRY(op_arg(op, DNNL_ARG_BIAS, &c->bias));
    return conv_pack_make(c, FORWARD);
}

static enum vd_err conv_make_data(struct dnn_conv *c,
                                  const dnnl_memory_desc_t *any)
{
    struct op *op = &c->op[DATA];
    VD_TRY(conv_choose(c, DATA, c->dnn->attr, any));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, &c->dst));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, op_md(op, dnnl_query_weights_md)));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_SRC, &c->src));
    return conv_pack_make(c, DATA);
}

static enum vd_err conv_make_weights(struct dnn_conv *c,
                                     const dnnl_memory_desc_t *any)
{
    struct op *op = &c->op[WEIGHTS];
    const dnnl_memory_desc_t *layout =
        c->spec.blocked_weights ? &c->weights : any;
    VD_TRY(conv_choose(c, WEIGHTS, c->dnn->attr, layout));
    const dnnl_memory_desc_t *made = op_md(op, dnnl_query_diff_weights_md);
    VD_TRY(op_arg(op, DNNL_ARG_SRC, &c->src));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, &c->dst));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_WEIGHTS, made));
    op_at_least(&c->dnn->grad_bytes, dnnl_memory_desc_get_size(made));
    if (dnnl_memory_desc_equal(made, &c->weights) && !is_padded(c))
        return VD_OK;
    return reorder_make(c->dnn, DNN_BACKWARD, made, &c->weights, &c->unpack);
}

static enum vd_err conv_make(struct dnn_conv *c)
{
    const struct dnn_conv_spec *s = &c->spec;
    c->ic = s->plain_src ? s->ic : dnn_padded(s->ic);
    c->oc = dnn_padded(s->oc);
    dnnl_dim_t src[] = {s->batch, c->ic, s->ih, s->iw}, bias[] = {c->oc};
    dnnl_dim_t dst[] = {s->batch, c->oc, s->oh, s->ow};
    dnnl_dim_t weights[] = {c->oc, c->ic, s->kernel, s->kernel};
    dnnl_format_tag_t blocked =
        dnn_block() == 16 ? dnnl_OIhw16i16o : dnnl_OIhw8i8o;
    dnnl_memory_desc_t any;
    VD_TRY(op_describe_map(&c->src, s->plain_src, src));
    VD_TRY(op_describe_map(&c->dst, false, dst));
    VD_TRY(op_describe(&c->bias, 1, bias, dnnl_a));
    VD_TRY(op_describe(&c->weights, 4, weights,
                       s->blocked_weights ? blocked : dnnl_oihw));
    VD_TRY(op_describe(&any, 4, weights, dnnl_format_tag_any));
    if (is_padded(c))
        op_at_least(&c->dnn->wide_bytes,
                    dnnl_memory_desc_get_size(&c->weights));
    VD_TRY(conv_make_forward(c, &any));
    if (s->backward_weights)
        VD_TRY(conv_make_weights(c, &any));
    if (s->backward_data)
        VD_TRY(conv_make_data(c, &any));
    return VD_OK;
}

enum vd_err dnn_conv_new(struct dnn *d, const struct dnn_conv_spec *spec,
                         struct dnn_conv **out)
{
    struct dnn_conv *c = mem_new(1, sizeof *c);
    c->dnn = d;
    c->spec = *spec;
    enum vd_err err = conv_make(c);
    if (err) {
        dnn_conv_free(c);
        return err;
    }
    *out = c;
    return VD_OK;
}

void dnn_conv_free(struct dnn_conv *c)
{
    if (!c)
        return;
    for (int i = 0; i < DIRECTIONS; i++)
        op_clear(&c->op[i]);
    for (int i = 0; i < 2; i++)
        op_clear(&c->pack[i]);
    op_clear(&c->unpack);
    mem_free(c);
}

size_t dnn_conv_packed(const struct dnn_conv *c)
{
    return c->n_packed[FORWARD] + c->n_packed[DATA];
}

void dnn_conv_use_packed(struct dnn_conv *c, float *packed)
{
    for (int i = 0; i < 2; i++) {
        c->packed[i] = c->n_packed[i] > 0 ? packed : NULL;
        packed += c->n_packed[i];
    }
}

enum vd_err dnn_conv_pack(struct dnn_conv *c, const float *weights)
{
    if (is_padded(c)) {
        memset(c->dnn->wide, 0, dnnl_memory_desc_get_size(&c->weights));
        copy_wide(c, c->dnn->wide, (float *)(uintptr_t)weights, true);
        weights = c->dnn->wide;
    }
    for (int i = 0; i < 2; i++) {
        if (c->packed[i])
            VD_TRY(
                op_run(&c->pack[i], (const void *[]){weights, c->packed[i]}));
    }
    return VD_OK;
}

enum vd_err dnn_conv_forward(struct dnn_conv *c, const float *src,
                             const float *weights, const float *bias,
                             float *dst)
{
    const float *w = c->packed[FORWARD] ? c->packed[FORWARD] : weights;
    return op_run(&c->op[FORWARD], (const void *[]){src, w, dst, bias});
}

/* Winograd writes the weights gradient with streaming stores, which fault on
 * anything but a whole cache line. */
static bool is_aligned(const void *p)
{
    return (uintptr_t)p % 64 == 0;
}

enum vd_err dnn_conv_backward_weights(struct dnn_conv *c, const float *src,
                                      const float *dst_grad,
                                      float *weights_grad)
{
    struct op *op = &c->op[WEIGHTS];
    bool direct = !c->unpack.primitive;
    float *grad = c->dnn->grad;
    if (direct && is_aligned(weights_grad))
        return op_run(op, (const void *[]){src, dst_grad, weights_grad});
    VD_TRY(op_run(op, (const void *[]){src, dst_grad, grad}));
    if (direct) {
        memcpy(weights_grad, grad, dnnl_memory_desc_get_size(&c->weights));
        return VD_OK;
    }
    if (!is_padded(c))
        return op_run(&c->unpack, (const void *[]){grad, weights_grad});
    VD_TRY(op_run(&c->unpack, (const void *[]){grad, c->dnn->wide}));
    copy_wide(c, c->dnn->wide, weights_grad, false);
    return VD_OK;
}

enum vd_err dnn_conv_backward_data(struct dnn_conv *c, const float *weights,
                                   const float *dst_grad, float *src_grad)
{
    const float *w = c->packed[DATA] ? c->packed[DATA] : weights;
    return op_run(&c->op[DATA], (const void *[]){dst_grad, w, src_grad});
}
