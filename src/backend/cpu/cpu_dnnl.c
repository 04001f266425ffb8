#include "backend/cpu/cpu_dnnl.h"

#include "base/mem.h"

#include <dnnl.h>
#include <dnnl_debug.h>
#include <stdio.h>
#include <string.h>

#if DNNL_VERSION_MAJOR != 2
#error "cpu_dnnl.c is written for oneDNN 2.x"
#endif

#define DNN_TRY(call)                                                          \
    do {                                                                       \
        dnnl_status_t status_ = (call);                                        \
        if (status_ != dnnl_success)                                           \
            return VD_FAIL(status_ == dnnl_out_of_memory ? VD_SYSTEM           \
                                                         : VD_DEVICE,          \
                           "oneDNN: %s: %s", #call, dnnl_status2str(status_)); \
    } while (0)

/* ---- what the processor can do ---- */

#define ISA_AVX2        0x7u
#define ISA_AVX512_CORE 0x27u

static unsigned isa(void)
{
    return (unsigned)dnnl_get_effective_cpu_isa();
}

int dnn_vector_bits(void)
{
    if ((isa() & ISA_AVX512_CORE) == ISA_AVX512_CORE)
        return 512;
    return (isa() & ISA_AVX2) == ISA_AVX2 ? 256 : 0;
}

int dnn_block(void)
{
    return dnn_vector_bits() == 512 ? 16 : 8;
}

int32_t dnn_padded(int32_t channels)
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

/* ---- shared by a net ---- */

struct dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* scratch memory comes from us */
    void *scratch;              /* owned; used by one primitive at a time */
    float *grad;                /* owned; weights gradient before reordering */
    float *wide;                /* owned; weights with padding channels */
    size_t scratch_bytes, grad_bytes, wide_bytes, own_bytes;
};

enum vd_err dnn_new(struct dnn **out)
{
    struct dnn *d = mem_new(1, sizeof *d);
    *out = d;
    DNN_TRY(dnnl_engine_create(&d->engine, dnnl_cpu, 0));
    DNN_TRY(
        dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags));
    DNN_TRY(dnnl_primitive_attr_create(&d->attr));
    DNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(d->attr,
                                                    dnnl_scratchpad_mode_user));
    return VD_OK;
}

void dnn_free(struct dnn *d)
{
    if (!d)
        return;
    mem_free(d->wide);
    mem_free(d->grad);
    mem_free(d->scratch);
    dnnl_primitive_attr_destroy(d->attr);
    dnnl_stream_destroy(d->stream);
    dnnl_engine_destroy(d->engine);
    mem_free(d);
}

enum vd_err dnn_commit(struct dnn *d)
{
    void *grad = NULL, *wide = NULL;
    VD_TRY(mem_alloc(&d->scratch, d->scratch_bytes, 1, "oneDNN scratch"));
    VD_TRY(mem_alloc(&grad, d->grad_bytes, 1, "weights gradient"));
    d->grad = grad;
    VD_TRY(mem_alloc(&wide, d->wide_bytes, 1, "padded weights"));
    d->wide = wide;
    return VD_OK;
}

size_t dnn_bytes(const struct dnn *d)
{
    return d->scratch_bytes + d->grad_bytes + d->wide_bytes + d->own_bytes;
}

static void at_least(size_t *bytes, size_t n)
{
    if (*bytes < n)
        *bytes = n;
}

/* ---- one primitive with its arguments ---- */

#define MAX_ARGS 7

struct op {
    struct dnn *dnn;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[MAX_ARGS]; /* the first is the scratch memory */
    int n;
};

static const dnnl_memory_desc_t *op_md(const struct op *op, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(op->pd, what, 0);
}

static enum vd_err op_arg(struct op *op, int id, const dnnl_memory_desc_t *md)
{
    VD_ASSERT(op->n < MAX_ARGS);
    dnnl_exec_arg_t *arg = &op->args[op->n];
    arg->arg = id;
    DNN_TRY(dnnl_memory_create(&arg->memory, md, op->dnn->engine,
                               DNNL_MEMORY_NONE));
    op->n++;
    return VD_OK;
}

/* Makes op->pd executable. Arguments are added next, by op_arg. */
static enum vd_err op_finish(struct dnn *d, struct op *op)
{
    op->dnn = d;
    DNN_TRY(dnnl_primitive_create(&op->primitive, op->pd));
    const dnnl_memory_desc_t *md = op_md(op, dnnl_query_scratchpad_md);
    at_least(&d->scratch_bytes, dnnl_memory_desc_get_size(md));
    return op_arg(op, DNNL_ARG_SCRATCHPAD, md);
}

static void op_clear(struct op *op)
{
    for (int i = 0; i < op->n; i++)
        dnnl_memory_destroy(op->args[i].memory);
    if (op->primitive)
        dnnl_primitive_destroy(op->primitive);
    if (op->pd)
        dnnl_primitive_desc_destroy(op->pd);
    *op = (struct op){NULL};
}

/* `data` in the order of op_arg. */
static enum vd_err op_run(struct op *op, const void *const *data)
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

static enum vd_err reorder_make(struct dnn *d, const dnnl_memory_desc_t *from,
                                const dnnl_memory_desc_t *to, struct op *op)
{
    DNN_TRY(dnnl_reorder_primitive_desc_create(&op->pd, from, d->engine, to,
                                               d->engine, d->attr));
    VD_TRY(op_finish(d, op));
    VD_TRY(op_arg(op, DNNL_ARG_FROM, from));
    return op_arg(op, DNNL_ARG_TO, to);
}

static enum vd_err describe(dnnl_memory_desc_t *md, int n,
                            const dnnl_dim_t *dims, dnnl_format_tag_t tag)
{
    DNN_TRY(dnnl_memory_desc_init_by_tag(md, n, dims, dnnl_f32, tag));
    return VD_OK;
}

static enum vd_err describe_map(dnnl_memory_desc_t *md, bool plain,
                                const dnnl_dim_t dims[4])
{
    dnnl_format_tag_t blocked = dnn_block() == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    return describe(md, 4, dims, plain ? dnnl_nchw : blocked);
}

static enum vd_err own(struct dnn *d, float **out, size_t bytes,
                       const char *what)
{
    void *p = NULL;
    VD_TRY(mem_alloc(&p, bytes, 1, what));
    *out = p;
    d->own_bytes += bytes;
    return VD_OK;
}

/* ---- convolution ---- */

enum { FORWARD, DATA, WEIGHTS, DIRECTIONS };

struct dnn_conv {
    struct dnn *dnn;
    struct dnn_conv_spec spec;
    struct op op[DIRECTIONS];
    bool winograd[DIRECTIONS];
    /* Where the primitive wants other weights than the net holds. */
    struct op pack[2]; /* FORWARD, DATA */
    float *packed[2];  /* owned */
    struct op unpack;  /* weights gradient */
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
 * Winograd F(4x4, 3x3) works on 4 x 4 tiles of the result; with few of them
 * its transforms and small products cost more than they save.
 */
static bool winograd_pays(const struct dnn_conv_spec *s)
{
    int64_t tiles = (int64_t)s->batch * ((s->oh + 3) / 4) * ((s->ow + 3) / 4);
    return s->kernel == 3 && s->stride == 1 && tiles >= 64;
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
    if (winograd_pays(&c->spec))
        VD_TRY(conv_try(c, direction, attr, dnnl_convolution_winograd, weights,
                        &pd));
    c->winograd[direction] = pd != NULL;
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
    return op_finish(c->dnn, &c->op[direction]);
}

/* A packed copy, unless the primitive takes the weights as they are. */
static enum vd_err conv_pack_make(struct dnn_conv *c, int direction)
{
    const dnnl_memory_desc_t *want =
        op_md(&c->op[direction], dnnl_query_weights_md);
    if (dnnl_memory_desc_equal(want, &c->weights) && !c->spec.folded &&
        !is_padded(c))
        return VD_OK;
    VD_TRY(reorder_make(c->dnn, &c->weights, want, &c->pack[direction]));
    return own(c->dnn, &c->packed[direction], dnnl_memory_desc_get_size(want),
               "packed weights");
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
    at_least(&c->dnn->grad_bytes, dnnl_memory_desc_get_size(made));
    if (dnnl_memory_desc_equal(made, &c->weights) && !is_padded(c))
        return VD_OK;
    return reorder_make(c->dnn, made, &c->weights, &c->unpack);
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
    VD_TRY(describe_map(&c->src, s->plain_src, src));
    VD_TRY(describe_map(&c->dst, false, dst));
    VD_TRY(describe(&c->bias, 1, bias, dnnl_a));
    VD_TRY(describe(&c->weights, 4, weights,
                    s->blocked_weights ? blocked : dnnl_oihw));
    VD_TRY(describe(&any, 4, weights, dnnl_format_tag_any));
    if (is_padded(c))
        at_least(&c->dnn->wide_bytes, dnnl_memory_desc_get_size(&c->weights));
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
    for (int i = 0; i < 2; i++) {
        op_clear(&c->pack[i]);
        mem_free(c->packed[i]);
    }
    op_clear(&c->unpack);
    mem_free(c);
}

bool dnn_conv_is_winograd(const struct dnn_conv *c, int direction)
{
    return c->winograd[direction];
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
    VD_TRY(describe(&src, 2, src_dims, dnnl_nc));
    VD_TRY(describe(&dst, 2, dst_dims, dnnl_nc));
    VD_TRY(describe(&weights, 2, weights_dims, dnnl_oi));
    VD_TRY(describe(&bias, 1, &dst_dims[1], dnnl_a));

    struct op *op = &l->op[FORWARD];
    DNN_TRY(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_training,
                                                 &src, &weights, &bias, &dst));
    DNN_TRY(
        dnnl_primitive_desc_create(&op->pd, &desc, d->attr, d->engine, NULL));
    VD_TRY(op_finish(d, op));
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
    VD_TRY(op_finish(d, op));
    VD_TRY(op_arg(op, DNNL_ARG_SRC, &src));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, &dst));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_WEIGHTS, &weights));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_BIAS, &bias));

    op = &l->op[DATA];
    DNN_TRY(dnnl_inner_product_backward_data_desc_init(&desc, &src, &weights,
                                                       &dst));
    DNN_TRY(
        dnnl_primitive_desc_create(&op->pd, &desc, d->attr, d->engine, hint));
    VD_TRY(op_finish(d, op));
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
    VD_TRY(describe_map(&src, s->plain, in));
    VD_TRY(describe_map(&dst, s->plain, result));
    DNN_TRY(dnnl_pooling_forward_desc_init(
        &desc, s->backward ? dnnl_forward_training : dnnl_forward_inference,
        dnnl_pooling_max, &src, &dst, stride, kernel, pad, pad));
    DNN_TRY(dnnl_primitive_desc_create(&p->forward.pd, &desc, d->attr,
                                       d->engine, NULL));
    VD_TRY(op_finish(d, &p->forward));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_SRC, &src));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_DST, &dst));
    if (!s->backward)
        return VD_OK;

    const dnnl_memory_desc_t *winners =
        op_md(&p->forward, dnnl_query_workspace_md);
    VD_TRY(own(d, &p->winners, dnnl_memory_desc_get_size(winners),
               "pooling workspace"));
    VD_TRY(op_arg(&p->forward, DNNL_ARG_WORKSPACE, winners));
    DNN_TRY(dnnl_pooling_backward_desc_init(&desc, dnnl_pooling_max, &src, &dst,
                                            stride, kernel, pad, pad));
    DNN_TRY(dnnl_primitive_desc_create(&p->backward.pd, &desc, d->attr,
                                       d->engine, p->forward.pd));
    VD_TRY(op_finish(d, &p->backward));
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
