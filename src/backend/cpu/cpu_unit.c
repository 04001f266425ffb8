#include "backend/cpu/cpu_unit.h"

#include "backend/cpu/cpu_layout.h"

static enum vd_err new_conv(struct dnn *d, const struct plan *p,
                            const struct plan_unit *u, struct dnn_conv **out)
{
    const struct graph_node *node = &p->graph->nodes[u->node];
    const struct graph_node *from = &p->graph->nodes[u->in];
    const struct graph_tensor *t = &p->graph->params[node->param];
    bool folded = u->folded_norm >= 0;
    struct dnn_conv_spec spec = {
        .batch = p->batch,
        .ic = from->c,
        .ih = from->h,
        .iw = from->w,
        .oc = node->c,
        .oh = node->h,
        .ow = node->w,
        .kernel = node->kernel,
        .stride = node->stride,
        .pad = node->pad,
        .plain_src = !p->values[u->in].blocked,
        .blocked_weights = !folded && layout_is_blocked(t, p->block),
        .folded = folded,
        .sum = folded && u->residual >= 0,
        .relu = folded && u->relu,
        .backward_weights = u->trainable,
        .backward_data = u->grad_in >= 0,
    };
    return dnn_conv_new(d, &spec, out);
}

static enum vd_err new_pool(struct dnn *d, const struct plan *p,
                            const struct plan_unit *u, struct dnn_pool **out)
{
    const struct graph_node *node = &p->graph->nodes[u->node];
    const struct graph_node *from = &p->graph->nodes[u->in];
    struct dnn_pool_spec spec = {
        .batch = p->batch,
        .c = node->c,
        .ih = from->h,
        .iw = from->w,
        .oh = node->h,
        .ow = node->w,
        .kernel = node->kernel,
        .stride = node->stride,
        .pad = node->pad,
        .plain = !p->values[u->in].blocked,
        .backward = u->grad_in >= 0,
    };
    return dnn_pool_new(d, &spec, out);
}

static void init_norm(struct norm *norm, const struct plan *p,
                      const struct plan_unit *u, int threads)
{
    const struct graph_node *node = &p->graph->nodes[u->node];
    norm_init(norm, p->batch, node->c, (size_t)node->h * (size_t)node->w,
              p->block, p->values[u->node].blocked);
    norm->threads = threads;
    norm->eps = p->graph->norm_eps;
}

enum vd_err unit_init(struct unit *unit, struct dnn *d, const struct plan *p,
                      int i, int threads)
{
    const struct plan_unit *u = &p->units[i];
    switch (u->kind) {
    case UNIT_CONV:
        return new_conv(d, p, u, &unit->conv);
    case UNIT_POOL:
        return new_pool(d, p, u, &unit->pool);
    case UNIT_LINEAR:
        return dnn_linear_new(d, p->batch, p->graph->nodes[u->in].c,
                              p->graph->nodes[u->node].c, u->trainable,
                              &unit->linear);
    case UNIT_NORM:
        init_norm(&unit->norm, p, u, threads);
        return VD_OK;
    case UNIT_RELU:
    case UNIT_ADD:
    case UNIT_FLATTEN:
    case UNIT_DROPOUT:
    case UNIT_LOSS:
        break;
    }
    return VD_OK;
}

void unit_clear(struct unit *unit)
{
    dnn_conv_free(unit->conv);
    dnn_linear_free(unit->linear);
    dnn_pool_free(unit->pool);
    norm_clear(&unit->norm);
    *unit = (struct unit){.conv = NULL};
}

const char *unit_implementation(const struct unit *unit,
                                enum dnn_direction direction)
{
    if (unit->conv)
        return dnn_conv_implementation(unit->conv, direction);
    if (unit->linear)
        return dnn_linear_implementation(unit->linear, direction);
    if (unit->pool)
        return dnn_pool_implementation(unit->pool, direction);
    return NULL;
}

const char *unit_name(const struct plan *p, int i)
{
    const struct graph_node *node = &p->graph->nodes[p->units[i].node];
    return node->param < 0 ? "maxpool" : p->graph->params[node->param].name;
}
