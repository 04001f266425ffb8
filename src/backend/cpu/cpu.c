#include "backend/cpu/cpu.h"

#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_net.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

const struct simd *simd_get(void)
{
    return dnn_vector_bits() == 512 ? &simd_512 : &simd_256;
}

/* Below AVX2 oneDNN computes backward in its reference loops, which are ten
 * times slower than backend ref. */
static const char *cpu_unavailable(void)
{
    return dnn_vector_bits() > 0 ? NULL
                                 : "needs AVX2 (x86-64 processors since 2013; "
                                   "ONEDNN_MAX_CPU_ISA must allow it)";
}

/* impl is the description. */
static enum vd_err cpu_open(struct backend *b,
                            const struct backend_config *config)
{
    char text[80];
    (void)config;
    dnn_describe(text, sizeof text);
    b->impl = xstrdup(text);
    return VD_OK;
}

static void cpu_close(struct backend *b)
{
    free(b->impl);
    b->impl = NULL;
}

static const char *cpu_describe(struct backend *b)
{
    return b->impl;
}

/* ---- flat buffers ---- */

/* How many elements of a buffer, from the first on, are laid out as the
 * parameters are. */
static size_t param_layout_count(const struct graph *g, enum buf_kind kind)
{
    switch (kind) {
    case BUF_PARAM:
        return g->n_params;
    case BUF_MOMENT:
    case BUF_EXCHANGE:
        return g->n_trainable;
    case BUF_STATS:
        break;
    }
    return 0;
}

/*
 * A buffer starts between one and two cache lines into its memory: as far as
 * puts the blocked convolution weights (whose sizes are whole lines) on line
 * boundaries, whatever the head before them adds up to.
 */
#define CACHE_LINE_FLOATS ((size_t)16)

static size_t param_alignment_shift(const struct graph *g)
{
    for (int i = 0; i < g->n_param_tensors; i++) {
        if (layout_is_blocked(&g->params[i], dnn_block()))
            return (CACHE_LINE_FLOATS -
                    g->params[i].offset % CACHE_LINE_FLOATS) %
                   CACHE_LINE_FLOATS;
    }
    return 0;
}

static enum vd_err cpu_alloc(struct backend *b, const struct graph *g,
                             enum buf_kind kind, struct buf *out)
{
    (void)b;
    void *memory = NULL;
    size_t n = backend_buf_count(g, kind);
    VD_TRY(alloc_aligned(&memory, n + 2 * CACHE_LINE_FLOATS, sizeof(float),
                         "weights"));
    *out = (struct buf){
        kind, (float *)memory + CACHE_LINE_FLOATS + param_alignment_shift(g),
        n};
    return VD_OK;
}

static void cpu_free(struct backend *b, struct buf *buf)
{
    (void)b;
    if (buf->data) {
        uintptr_t line = (uintptr_t)buf->data & ~(uintptr_t)63;
        alloc_aligned_free((float *)line - CACHE_LINE_FLOATS);
    }
    *buf = (struct buf){.data = NULL};
}

typedef void convert_tensor_fn(const struct graph_tensor *t, int block,
                               const float *from, float *to);

static void convert_layout(const struct graph *g, enum buf_kind kind, size_t n,
                           const float *from, float *to,
                           convert_tensor_fn *blocked)
{
    size_t limit = param_layout_count(g, kind);
    int block = dnn_block();
    memcpy(to, from, n * sizeof *to);
    for (int i = 0; i < g->n_param_tensors; i++) {
        const struct graph_tensor *t = &g->params[i];
        if (t->offset < limit && layout_is_blocked(t, block))
            blocked(t, block, from + t->offset, to + t->offset);
    }
}

static enum vd_err cpu_put(struct backend *b, const struct graph *g,
                           struct buf *dst, const float *src)
{
    (void)b;
    convert_layout(g, dst->kind, dst->n, src, dst->data, layout_pack);
    return VD_OK;
}

static enum vd_err cpu_get(struct backend *b, const struct graph *g, float *dst,
                           const struct buf *src)
{
    (void)b;
    convert_layout(g, src->kind, src->n, src->data, dst, layout_unpack);
    return VD_OK;
}

/* ---- nothing is recorded, nothing is waited for ---- */

static enum vd_err cpu_begin(struct net *net, int key, bool *replayed)
{
    (void)net;
    (void)key;
    *replayed = false;
    return VD_OK;
}

static enum vd_err cpu_end(struct net *net)
{
    (void)net;
    return VD_OK;
}

static enum vd_err cpu_update_result(struct net *net, struct update_result *out)
{
    *out = net->update_result;
    return VD_OK;
}

const struct backend_ops backend_cpu_ops = {
    .name = "cpu",
    .abi = BACKEND_ABI,
    .caps = BACKEND_HOST_MEMORY,
    .unavailable = cpu_unavailable,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .put = cpu_put,
    .get = cpu_get,
    .net_new = cpu_net_new,
    .net_free = cpu_net_free,
    .release_workspace = cpu_release_workspace,
    .stage = cpu_stage,
    .begin = cpu_begin,
    .forward = cpu_forward,
    .backward = cpu_backward,
    .add = cpu_add,
    .divide = cpu_divide,
    .update = cpu_update,
    .end = cpu_end,
    .results = cpu_results,
    .update_result = cpu_update_result,
    .node_value = cpu_node_value,
    .node_grad = cpu_node_grad,
};
