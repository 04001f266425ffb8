/* Helpers for users and implementations of any backend. backend_open() is in
 * backend_registry.c. */
#include "backend/backend.h"

enum vd_err weights_alloc(struct backend *b, const struct graph *g,
                          struct weights *w)
{
    *w = (struct weights){.version = 1};
    enum vd_err err;
    VD_TRY_GOTO(out, err, b->ops->alloc(b, g, BUF_PARAM, &w->param));
    VD_TRY_GOTO(out, err, b->ops->alloc(b, g, BUF_MOMENT, &w->m));
    VD_TRY_GOTO(out, err, b->ops->alloc(b, g, BUF_MOMENT, &w->v));
    VD_TRY_GOTO(out, err, b->ops->alloc(b, g, BUF_STATS, &w->stats));
    VD_TRY_GOTO(out, err, b->ops->alloc(b, g, BUF_SCALER, &w->scaler));
    return VD_OK;
out:
    weights_free(b, w);
    return err;
}

void weights_free(struct backend *b, struct weights *w)
{
    b->ops->free(b, &w->scaler);
    b->ops->free(b, &w->stats);
    b->ops->free(b, &w->v);
    b->ops->free(b, &w->m);
    b->ops->free(b, &w->param);
    *w = (struct weights){.version = 0};
}

enum vd_err backend_end(struct backend *b, struct net *net, enum vd_err err)
{
    if (err == VD_OK)
        return b->ops->end(net);
    b->ops->cancel(net);
    return err;
}

size_t backend_buf_count(const struct graph *g, enum buf_kind kind)
{
    switch (kind) {
    case BUF_PARAM:
        return g->n_params;
    case BUF_MOMENT:
        return g->n_trainable;
    case BUF_STATS:
        return g->n_stats;
    case BUF_EXCHANGE:
        return g->n_exchange;
    case BUF_SCALER:
        return SCALER_N;
    }
    return 0;
}

enum vd_err backend_check_spec(const struct net_spec *spec)
{
    const struct graph *g = spec->graph;
    VD_ASSERT(spec->micro_batch > 0 && spec->threads > 0);
    VD_ASSERT(spec->mode == NET_TRAIN || !spec->plan);
    for (int i = 0; spec->mode == NET_TRAIN && i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        if (node->op == GRAPH_NORM && !node->fixed_norm &&
            spec->micro_batch * node->h * node->w < 2)
            return VD_FAIL(VD_CONFIG,
                           "micro-batch of 1: %s has one value per channel, "
                           "which has no variance\n"
                           "set --train.micro_batch to 2 or more",
                           g->params[node->param].name);
    }
    return VD_OK;
}

enum vd_err backend_cannot_tune(struct backend *b, const struct net_spec *spec,
                                void **plan, size_t *n)
{
    (void)spec;
    (void)plan;
    (void)n;
    return VD_FAIL(VD_UNSUPPORTED,
                   "tune: backend %s has no autotuning\ngive --tune off",
                   b->ops->name);
}
