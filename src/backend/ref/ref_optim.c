/* Optimizer step (Adam, AdamW or SGD as torch.optim defines them) and running
 * statistics. Computed in double, stored in float32. */
#include "backend/ref/ref_optim.h"

#include "backend/scaler.h"

#include <math.h>

/* torch.nn.utils.clip_grad_norm_ adds this to the norm. */
#define CLIP_EPS 1e-6

/* Factors of one step, the same for all elements of a tensor. */
struct ref_optim_coeffs {
    const struct optim *optim;
    double lr;    /* learning rate: head or backbone */
    double scale; /* factor of the gradient (clipping, loss scale) */
    double bias_correction1, bias_correction2; /* Adam: 1 - beta^t */
};

static double ref_adam(const struct ref_optim_coeffs *r, double p, double g,
                       float *m, float *v)
{
    const struct optim *o = r->optim;
    double m1 = o->beta1 * (double)*m + (1 - o->beta1) * g;
    double v1 = o->beta2 * (double)*v + (1 - o->beta2) * g * g;
    *m = (float)m1;
    *v = (float)v1;
    double denominator = sqrt(v1) / sqrt(r->bias_correction2) + o->eps;
    return p - r->lr / r->bias_correction1 * m1 / denominator;
}

static void ref_update_element(const struct ref_optim_coeffs *r, float *param,
                               float grad, float *m, float *v)
{
    const struct optim *o = r->optim;
    double p = (double)*param, g = (double)grad * r->scale;
    switch (o->rule) {
    case OPTIM_ADAM:
        p = ref_adam(r, p, g + o->weight_decay * p, m, v);
        break;
    case OPTIM_ADAMW:
        p = ref_adam(r, p * (1 - r->lr * o->weight_decay), g, m, v);
        break;
    case OPTIM_SGD:
        g = o->momentum * (double)*m + (g + o->weight_decay * p);
        *m = (float)g;
        p -= r->lr * g;
        break;
    }
    *param = (float)p;
}

static void ref_update_params(const struct net *net, const float *grad,
                              double norm, double loss_scale)
{
    const struct graph *g = net->graph;
    const struct optim *o = &net->spec.optim;
    struct weights *w = net->spec.weights;
    double t = (double)scaler_count_applied(w->scaler.data, net->scalars.step);
    struct ref_optim_coeffs coeffs = {.optim = o,
                                      .scale = 1 / loss_scale,
                                      .bias_correction1 = 1 - pow(o->beta1, t),
                                      .bias_correction2 = 1 - pow(o->beta2, t)};
    if (o->clip_norm > 0)
        coeffs.scale *= fmin(1, o->clip_norm / (norm + CLIP_EPS));
    for (size_t i = 0; i < g->n_trainable; i++) {
        coeffs.lr = i < g->n_head ? net->scalars.lr : net->scalars.backbone_lr;
        ref_update_element(&coeffs, &w->param.data[i], grad[i], &w->m.data[i],
                           &w->v.data[i]);
    }
}

/* running = (1 - momentum) running + momentum batch, for mean and variance. */
static void ref_update_running_stats(const struct net *net, const float *batch)
{
    const struct graph *g = net->graph;
    double share = g->norm_momentum;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op != GRAPH_NORM || g->nodes[i].fixed_norm)
            continue;
        const struct graph_tensor *t = &g->stats[g->nodes[i].stats];
        float *running = net->spec.weights->stats.data + t[0].offset;
        for (size_t k = 0; k < t[0].count + t[1].count; k++)
            running[k] = (float)((1 - share) * (double)running[k] +
                                 share * (double)batch[t[0].offset + k]);
    }
}

enum vd_err ref_update(struct net *net, struct buf *exchange)
{
    const struct graph *g = net->graph;
    VD_ASSERT(net->spec.mode == NET_TRAIN && exchange->kind == BUF_EXCHANGE);
    const float *grad = exchange->data, *stats = grad + g->n_trainable;
    struct weights *w = net->spec.weights;
    float scale = scaler_scale(w->scaler.data, &net->spec.scaling);
    double squares = 0;
    for (size_t i = 0; i < g->n_trainable; i++)
        squares += (double)grad[i] * (double)grad[i];
    bool finite = isfinite(squares) && stats[g->n_stats] == 0;
    for (size_t i = 0; i < g->n_stats; i++)
        finite = finite && isfinite(stats[i]);
    double norm = sqrt(squares) / (double)scale;
    struct update_result result = {.grad_norm = norm, .loss_scale = scale};
    result.outcome = scaler_advance(w->scaler.data, &net->spec.scaling, finite);
    result_queue_push_update(&net->unread, result);
    if (result.outcome != UPDATE_APPLIED)
        return VD_OK;
    ref_update_params(net, grad, norm, (double)scale);
    ref_update_running_stats(net, stats);
    w->version++;
    return VD_OK;
}
