/*
 * The backend's table of operations, and its flat buffers.
 *
 * A flat buffer has the graph's order and counts. Inside it, a convolution
 * weight whose channel counts are multiples of the channel block is stored in
 * oneDNN's blocked order (cpu_layout.h), so that direct convolution can use it
 * without a copy. All else in a buffer is in the canonical (PyTorch) order.
 * cpu_put() and cpu_get() convert between the two orders.
 *
 * The first blocked weight starts on a 64-byte boundary: see
 * param_alignment_shift().
 */
#include "backend/cpu/cpu.h"

#include "backend/cpu/cpu_dnnl.h"
#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_net.h"
#include "backend/cpu/cpu_pass.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Without AVX2, oneDNN runs backward passes in its reference loops, which are
 * ten times slower than backend ref. */
static const char *cpu_unavailable(void)
{
    return dnn_vector_bits() > 0 ? NULL
                                 : "needs AVX2 (x86-64 processors since 2013; "
                                   "ONEDNN_MAX_CPU_ISA must allow it)";
}

/* b->impl holds the string that describe() returns. */
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

static const char *cpu_device_id(struct backend *b)
{
    (void)b;
    return NULL;
}

/* ---- flat buffers ---- */

/* The number of leading elements that have the layout of the parameters. */
static size_t param_layout_count(const struct graph *g, enum buf_kind kind)
{
    switch (kind) {
    case BUF_PARAM:
        return g->n_params;
    case BUF_MOMENT:
    case BUF_EXCHANGE:
        return g->n_trainable;
    case BUF_STATS:
    case BUF_SCALER:
        break;
    }
    return 0;
}

#define CACHE_LINE_FLOATS ((size_t)16)

/*
 * The head's tensors come first in a flat buffer and can have any size. A
 * buffer therefore starts one cache line plus this many elements into its
 * allocation, which puts the first blocked weight on a cache line boundary.
 * The later ones follow if all tensors between them fill whole cache lines.
 */
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

static void cpu_pin(struct backend *b, void *memory, size_t bytes)
{
    (void)b;
    (void)memory;
    (void)bytes;
}

static void cpu_unpin(struct backend *b, void *memory)
{
    (void)b;
    (void)memory;
}

/* ---- begin and end: work runs at once, no step is recorded ---- */

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

static void cpu_cancel(struct net *net)
{
    (void)net;
}

const struct backend_ops backend_cpu_ops = {
    .name = "cpu",
    .caps = BACKEND_HOST_MEMORY,
    .precisions = 1u << BACKEND_FP32,
    .depth = 1,
    .max_eval_nets = 0,
    .unavailable = cpu_unavailable,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .device_id = cpu_device_id,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .put = cpu_put,
    .get = cpu_get,
    .pin = cpu_pin,
    .unpin = cpu_unpin,
    .tune = backend_cannot_tune,
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
    .cancel = cpu_cancel,
    .done = cpu_done,
    .results = cpu_results,
    .update_result = cpu_update_result,
    .node_value = cpu_node_value,
    .node_grad = cpu_node_grad,
};
