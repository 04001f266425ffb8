/*
 * Convolution: one oneDNN primitive per direction (forward, backward data,
 * backward weights), direct or Winograd F(4x4, 3x3) (Lavin and Gray 2015), and
 * reorders into the packed weights that the primitives require.
 *
 * winograd_is_faster() selects from shape, batch and direction. If oneDNN does
 * not implement Winograd for the request, the convolution is direct.
 *
 * Zero extension: oneDNN's AVX2 code has no weights gradient for maps smaller
 * than the kernel; its reference loops are hundreds of times slower. Zeros
 * below and to the right extend the maps until generated code exists. The sum
 * is unchanged: each product that this adds has two zero factors.
 *     3x3, stride 1, map 2x2:  src 2x2 -> 3x3, dst gradient 2x2 -> 3x3
 */
#include "backend/cpu/cpu_dnnl_internal.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static enum vd_err op_make_reorder(struct dnn *d, enum dnn_work work,
                                   dnnl_md from, dnnl_md to, struct op *op)
{
    DNN_TRY(dnnl_reorder_primitive_desc_create(&op->pd, from, d->engine, to,
                                               d->engine, d->attr));
    VD_TRY(op_register(d, op, work));
    VD_TRY(op_arg(op, DNNL_ARG_FROM, from));
    return op_arg(op, DNNL_ARG_TO, to);
}

/* A map [planes, h, w, block] and its zero extension [planes, large_h, large_w,
 * block]. */
struct extended_map {
    dnnl_md md; /* of the extension */
    size_t planes, block, h, w;
    size_t large_h, large_w;
    size_t at, bytes; /* of the extension, in the scratchpad */
};

struct dnn_conv {
    struct dnn *dnn;
    struct dnn_conv_spec spec;
    struct op op[DNN_DIRECTIONS];
    /* Reorders, if the primitive's weights layout differs from the net's. */
    struct op pack[2];  /* DNN_FWD, DNN_BWD_DATA */
    size_t n_packed[2]; /* elements; 0: same layout, no packed copy */
    float *packed[2];   /* borrowed */
    struct op unpack;   /* weights gradient to the net's layout */
    dnnl_md src, dst, weights, bias;
    /* Weights gradient: zero rows and columns appended to src; 0: none. */
    int32_t extra;
    struct extended_map large_src, large_dst;
    /* Channel counts with padding channels, as oneDNN sees them. The padding
     * channels of maps are zeros; dnn_conv_pack() adds them to the weights. */
    int32_t ic, oc;
};

static bool is_padded(const struct dnn_conv *c)
{
    return c->ic != c->spec.ic || c->oc != c->spec.oc;
}

/* Copies canonical weights [oc, ic, k, k] into the padded ones, or back. */
static void copy_padded_weights(const struct dnn_conv *c, float *padded,
                                float *weights, bool to_padded)
{
    size_t window = (size_t)c->spec.kernel * (size_t)c->spec.kernel;
    size_t row = (size_t)c->spec.ic * window, step = (size_t)c->ic * window;
    for (int32_t o = 0; o < c->spec.oc; o++) {
        if (to_padded)
            memcpy(padded, weights, row * sizeof *padded);
        else
            memcpy(weights, padded, row * sizeof *padded);
        padded += step;
        weights += row;
    }
}

/*
 * Cost model, in units of the cost of one pixel in direct convolution.
 * Winograd transforms the weights (a fixed cost) and computes whole 4 x 4
 * tiles; direct convolution costs per pixel, and more for weights gradients.
 * The constants fit measured processor times of 21 shapes (64 to 512 channels,
 * maps of 2 to 56 pixels, batches of 1 to 32). The model selects the faster
 * algorithm in all of them but near ties.
 */
static bool winograd_is_faster(const struct dnn_conv_spec *s,
                               dnnl_prop_kind_t kind)
{
    int64_t pixels = (int64_t)s->batch * s->oh * s->ow;
    int64_t tiles = (int64_t)s->batch * ((s->oh + 3) / 4) * ((s->ow + 3) / 4);
    int64_t cost =
        kind == dnnl_backward_weights ? 128 + 3 * tiles : 192 + 5 * tiles;
    return s->kernel == 3 && s->stride == 1 && pixels >= cost;
}

/* VD_OK with *pd NULL: oneDNN does not implement this algorithm for the
 * request. */
static enum vd_err conv_create_pd(const struct dnn_conv *c,
                                  const struct api_request *request,
                                  dnnl_alg_kind_t algorithm,
                                  dnnl_primitive_desc_t *pd)
{
    struct api_request r = *request;
    r.algorithm = algorithm;
    dnnl_status_t status = api_conv(c->dnn->engine, &r, pd);
    if (status == dnnl_unimplemented) {
        *pd = NULL;
        return VD_OK;
    }
    DNN_TRY(status);
    return VD_OK;
}

static enum vd_err conv_select_pd(const struct dnn_conv *c,
                                  const struct api_request *r,
                                  dnnl_primitive_desc_t *pd)
{
    *pd = NULL;
    if (winograd_is_faster(&c->spec, r->kind))
        VD_TRY(conv_create_pd(c, r, dnnl_convolution_winograd, pd));
    if (!*pd)
        VD_TRY(conv_create_pd(c, r, dnnl_convolution_direct, pd));
    if (!*pd)
        return VD_FAIL(VD_DEVICE,
                       "oneDNN: no implementation of convolution %dx%dx%d -> "
                       "%d channels, kernel %d",
                       c->spec.ic, c->spec.ih, c->spec.iw, c->spec.oc,
                       c->spec.kernel);
    return VD_OK;
}

static dnnl_prop_kind_t forward_kind(const struct dnn_conv *c)
{
    return c->spec.folded ? dnnl_forward_inference : dnnl_forward_training;
}

static struct api_request conv_request(const struct dnn_conv *c,
                                       enum dnn_direction direction,
                                       dnnl_md weights)
{
    int32_t stride = c->spec.stride, pad = c->spec.pad;
    const dnnl_prop_kind_t kinds[] = {[DNN_FWD] = forward_kind(c),
                                      [DNN_BWD_DATA] = dnnl_backward_data,
                                      [DNN_BWD_WEIGHTS] =
                                          dnnl_backward_weights};
    return (struct api_request){
        .kind = kinds[direction],
        .src = c->src,
        .weights = weights,
        .dst = c->dst,
        .stride = {stride, stride},
        .pad = {pad, pad},
        .attr = c->dnn->attr,
        .hint = direction == DNN_FWD ? NULL : c->op[DNN_FWD].pd,
    };
}

/* Makes the reorder into a packed copy, unless the primitive reads the net's
 * weights directly. */
static enum vd_err conv_pack_make(struct dnn_conv *c,
                                  enum dnn_direction direction)
{
    dnnl_md required = op_md(&c->op[direction], dnnl_query_weights_md);
    if (dnnl_memory_desc_equal(required, c->weights) && !c->spec.folded &&
        !is_padded(c))
        return VD_OK;
    size_t line = 16 * sizeof(float);
    c->n_packed[direction] =
        (dnnl_memory_desc_get_size(required) + line - 1) / line * 16;
    return op_make_reorder(c->dnn, DNN_PACK, c->weights, required,
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
        status = api_append_sum(ops);
    if (c->spec.relu && status == dnnl_success)
        status = api_append_relu(ops);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    dnnl_post_ops_destroy(ops);
    DNN_TRY(status);
    return VD_OK;
}

static enum vd_err conv_make_forward(struct dnn_conv *c, dnnl_md any)
{
    struct op *op = &c->op[DNN_FWD];
    struct api_request r = conv_request(c, DNN_FWD, any);
    dnnl_primitive_attr_t attr = NULL;
    r.bias = c->spec.folded ? c->bias : NULL;
    enum vd_err err = conv_attr(c, &attr);
    r.attr = attr;
    if (!err)
        err = conv_select_pd(c, &r, &op->pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    VD_TRY(err);

    VD_TRY(op_register(c->dnn, op, DNN_FORWARD));
    VD_TRY(op_arg(op, DNNL_ARG_SRC, c->src));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, op_md(op, dnnl_query_weights_md)));
    VD_TRY(op_arg(op, DNNL_ARG_DST, c->dst));
    if (c->spec.folded)
        VD_TRY(op_arg(op, DNNL_ARG_BIAS, c->bias));
    return conv_pack_make(c, DNN_FWD);
}

static enum vd_err conv_make_data(struct dnn_conv *c, dnnl_md any)
{
    struct op *op = &c->op[DNN_BWD_DATA];
    struct api_request r = conv_request(c, DNN_BWD_DATA, any);
    VD_TRY(conv_select_pd(c, &r, &op->pd));
    VD_TRY(op_register(c->dnn, op, DNN_BACKWARD));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, c->dst));
    VD_TRY(op_arg(op, DNNL_ARG_WEIGHTS, op_md(op, dnnl_query_weights_md)));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_SRC, c->src));
    return conv_pack_make(c, DNN_BWD_DATA);
}

/* ---- weights gradient ---- */

/* [batch, channels, h, w] extended to large_h x large_w. */
static enum vd_err init_extended_map(struct dnn_conv *c, struct extended_map *m,
                                     int32_t channels, const int32_t small[2],
                                     const int32_t large[2], bool plain)
{
    dnnl_dim_t dims[] = {c->spec.batch, channels, large[0], large[1]};
    size_t block = plain ? 1 : (size_t)dnn_block();
    *m = (struct extended_map){
        .planes = (size_t)c->spec.batch * (size_t)channels / block,
        .block = block,
        .h = (size_t)small[0],
        .w = (size_t)small[1],
        .large_h = (size_t)large[0],
        .large_w = (size_t)large[1],
    };
    m->bytes = m->planes * block * m->large_h * m->large_w * sizeof(float);
    return op_describe_map(c->dnn, &m->md, plain, dims);
}

static int32_t n_windows(const struct dnn_conv_spec *s, int32_t length)
{
    return (length + 2 * s->pad - s->kernel) / s->stride + 1;
}

/* Changes the request to maps with c->extra zero rows and columns. */
static enum vd_err extend_maps(struct dnn_conv *c, struct api_request *r)
{
    const struct dnn_conv_spec *s = &c->spec;
    int32_t src[] = {s->ih, s->iw}, dst[] = {s->oh, s->ow};
    int32_t large_src[] = {s->ih + c->extra, s->iw + c->extra};
    int32_t large_dst[] = {n_windows(s, large_src[0]),
                           n_windows(s, large_src[1])};
    VD_TRY(init_extended_map(c, &c->large_src, c->ic, src, large_src,
                             s->plain_src));
    VD_TRY(init_extended_map(c, &c->large_dst, c->oc, dst, large_dst, false));
    r->src = c->large_src.md;
    r->dst = c->large_dst.md;
    r->hint = NULL;
    return VD_OK;
}

/* Makes a forward descriptor of the extended shape, which oneDNN requires as
 * a hint. *hint NULL: not implemented. */
static enum vd_err extended_hint(struct dnn_conv *c,
                                 const struct api_request *weights, dnnl_md any,
                                 dnnl_primitive_desc_t *hint)
{
    struct api_request r = *weights;
    r.kind = forward_kind(c);
    r.weights = any;
    return conv_create_pd(c, &r, dnnl_convolution_direct, hint);
}

/* Extends the maps, up to the kernel size, until oneDNN has an implementation
 * other than its reference loops; if it has none, uses the reference loops. */
static enum vd_err conv_choose_weights(struct dnn_conv *c, dnnl_md layout,
                                       dnnl_md any)
{
    dnnl_primitive_desc_t *pd = &c->op[DNN_BWD_WEIGHTS].pd;
    struct api_request r = conv_request(c, DNN_BWD_WEIGHTS, layout);
    VD_TRY(conv_select_pd(c, &r, pd));
    while (dnn_is_reference(op_implementation(*pd)) &&
           c->extra < c->spec.kernel) {
        dnnl_primitive_desc_t hint = NULL, other = NULL;
        c->extra++;
        VD_TRY(extend_maps(c, &r));
        VD_TRY(extended_hint(c, &r, any, &hint));
        r.hint = hint;
        enum vd_err err = hint ? conv_select_pd(c, &r, &other) : VD_OK;
        dnnl_primitive_desc_destroy(hint);
        VD_TRY(err);
        if (other && !dnn_is_reference(op_implementation(other))) {
            dnnl_primitive_desc_destroy(*pd);
            *pd = other;
            return VD_OK;
        }
        dnnl_primitive_desc_destroy(other);
    }
    c->extra = 0;
    return VD_OK;
}

/* Places the extended maps after the primitive's own scratchpad. */
static void assign_extended_map_offsets(struct dnn_conv *c)
{
    const size_t line = 64;
    size_t own = dnnl_memory_desc_get_size(
        op_md(&c->op[DNN_BWD_WEIGHTS], dnnl_query_scratchpad_md));
    c->large_src.at = (own + line - 1) / line * line;
    c->large_dst.at =
        (c->large_src.at + c->large_src.bytes + line - 1) / line * line;
    op_raise_to(&c->dnn->scratch_bytes[DNN_BACKWARD],
                c->large_dst.at + c->large_dst.bytes);
}

static enum vd_err conv_make_weights(struct dnn_conv *c, dnnl_md any)
{
    struct op *op = &c->op[DNN_BWD_WEIGHTS];
    VD_TRY(conv_choose_weights(c, c->spec.blocked_weights ? c->weights : any,
                               any));
    VD_TRY(op_register(c->dnn, op, DNN_BACKWARD));
    if (c->extra)
        assign_extended_map_offsets(c);
    dnnl_md made = op_md(op, dnnl_query_diff_weights_md);
    VD_TRY(op_arg(op, DNNL_ARG_SRC, c->extra ? c->large_src.md : c->src));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_DST, c->extra ? c->large_dst.md : c->dst));
    VD_TRY(op_arg(op, DNNL_ARG_DIFF_WEIGHTS, made));
    op_raise_to(&c->dnn->grad_bytes, dnnl_memory_desc_get_size(made));
    if (dnnl_memory_desc_equal(made, c->weights) && !is_padded(c))
        return VD_OK;
    return op_make_reorder(c->dnn, DNN_BACKWARD, made, c->weights, &c->unpack);
}

static enum vd_err conv_make(struct dnn_conv *c)
{
    const struct dnn_conv_spec *s = &c->spec;
    c->ic = s->plain_src ? s->ic : dnn_padded_channels(s->ic);
    c->oc = dnn_padded_channels(s->oc);
    dnnl_dim_t src[] = {s->batch, c->ic, s->ih, s->iw}, bias[] = {c->oc};
    dnnl_dim_t dst[] = {s->batch, c->oc, s->oh, s->ow};
    dnnl_dim_t weights[] = {c->oc, c->ic, s->kernel, s->kernel};
    dnnl_format_tag_t blocked =
        dnn_block() == 16 ? dnnl_OIhw16i16o : dnnl_OIhw8i8o;
    struct dnn *d = c->dnn;
    dnnl_md any = NULL;
    VD_TRY(op_describe_map(d, &c->src, s->plain_src, src));
    VD_TRY(op_describe_map(d, &c->dst, false, dst));
    VD_TRY(op_describe(d, &c->bias, 1, bias, dnnl_a));
    VD_TRY(op_describe(d, &c->weights, 4, weights,
                       s->blocked_weights ? blocked : dnnl_oihw));
    VD_TRY(op_describe(d, &any, 4, weights, dnnl_format_tag_any));
    if (is_padded(c))
        op_raise_to(&d->padded_weights_bytes,
                    dnnl_memory_desc_get_size(c->weights));
    VD_TRY(conv_make_forward(c, any));
    if (s->backward_weights)
        VD_TRY(conv_make_weights(c, any));
    if (s->backward_data)
        VD_TRY(conv_make_data(c, any));
    return VD_OK;
}

enum vd_err dnn_conv_new(struct dnn *d, const struct dnn_conv_spec *spec,
                         struct dnn_conv **out)
{
    struct dnn_conv *c = xcalloc(1, sizeof *c);
    c->dnn = d;
    c->spec = *spec;
    enum vd_err err = dnn_check_headroom("oneDNN");
    if (!err)
        err = conv_make(c);
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
    for (int i = 0; i < DNN_DIRECTIONS; i++)
        op_clear(&c->op[i]);
    for (int i = 0; i < 2; i++)
        op_clear(&c->pack[i]);
    op_clear(&c->unpack);
    free(c);
}

const char *dnn_conv_implementation(const struct dnn_conv *c,
                                    enum dnn_direction direction)
{
    return op_implementation(c->op[direction].pd);
}

size_t dnn_conv_packed(const struct dnn_conv *c)
{
    return c->n_packed[DNN_FWD] + c->n_packed[DNN_BWD_DATA];
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
        memset(c->dnn->padded_weights, 0,
               dnnl_memory_desc_get_size(c->weights));
        copy_padded_weights(c, c->dnn->padded_weights,
                            (float *)(uintptr_t)weights, true);
        weights = c->dnn->padded_weights;
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
    const float *w = c->packed[DNN_FWD] ? c->packed[DNN_FWD] : weights;
    return op_run(&c->op[DNN_FWD], (const void *[]){src, w, dst, bias});
}

/* Winograd writes the weights gradient with streaming stores, which fault on
 * addresses that are not aligned to a cache line. */
static bool is_aligned(const void *p)
{
    return (uintptr_t)p % 64 == 0;
}

/* Copies a map into its extension, with zeros below and to the right. */
static const float *fill_extended(const struct dnn_conv *c,
                                  const struct extended_map *m,
                                  const float *map)
{
    float *large = (float *)((char *)c->dnn->scratch + m->at);
    size_t row = m->w * m->block, large_row = m->large_w * m->block;
    size_t large_plane = m->large_h * large_row;
#pragma omp parallel for schedule(static)
    for (size_t p = 0; p < m->planes; p++) {
        const float *from = map + p * m->h * row;
        float *to = large + p * large_plane;
        memset(to, 0, large_plane * sizeof *to);
        for (size_t y = 0; y < m->h; y++)
            memcpy(to + y * large_row, from + y * row, row * sizeof *to);
    }
    return large;
}

enum vd_err dnn_conv_backward_weights(struct dnn_conv *c, const float *src,
                                      const float *dst_grad,
                                      float *weights_grad)
{
    struct op *op = &c->op[DNN_BWD_WEIGHTS];
    bool direct = !c->unpack.primitive;
    float *grad = c->dnn->grad;
    if (c->extra) {
        src = fill_extended(c, &c->large_src, src);
        dst_grad = fill_extended(c, &c->large_dst, dst_grad);
    }
    if (direct && is_aligned(weights_grad))
        return op_run(op, (const void *[]){src, dst_grad, weights_grad});
    VD_TRY(op_run(op, (const void *[]){src, dst_grad, grad}));
    if (direct) {
        memcpy(weights_grad, grad, dnnl_memory_desc_get_size(c->weights));
        return VD_OK;
    }
    if (!is_padded(c))
        return op_run(&c->unpack, (const void *[]){grad, weights_grad});
    VD_TRY(op_run(&c->unpack, (const void *[]){grad, c->dnn->padded_weights}));
    copy_padded_weights(c, c->dnn->padded_weights, weights_grad, false);
    return VD_OK;
}

enum vd_err dnn_conv_backward_data(struct dnn_conv *c, const float *weights,
                                   const float *dst_grad, float *src_grad)
{
    const float *w =
        c->packed[DNN_BWD_DATA] ? c->packed[DNN_BWD_DATA] : weights;
    return op_run(&c->op[DNN_BWD_DATA],
                  (const void *[]){dst_grad, w, src_grad});
}
