/*
 * The optimizer step (Adam, AdamW and SGD as torch.optim defines them) on the
 * flat buffers. It is element-wise, so the layout inside a tensor is
 * irrelevant.
 *
 *   1. Norm of the mean gradient: sums of squares per chunk, then over the
 *      chunks in order. Chunks have a fixed size: the bits do not depend on
 *      the number of threads.
 *   2. If the gradient, the statistics or the loss is not finite: halt.
 *   3. Clip as torch.nn.utils.clip_grad_norm_, then update the head and the
 *      backbone, each with its own learning rate.
 *   4. Running statistics: exponential moving average of the batch statistics.
 */
#include "backend/cpu/cpu_optim.h"

#include "backend/scaler.h"

#include <math.h>

/* Added to the norm by torch.nn.utils.clip_grad_norm_. */
#define CLIP_EPS 1e-6

/* Elements per chunk, for any number of threads. */
#define CHUNK ((size_t)16 << 10)

static size_t n_chunks(size_t n)
{
    return (n + CHUNK - 1) / CHUNK;
}

size_t optim_n_partials(const struct graph *g)
{
    return n_chunks(g->n_trainable);
}

static size_t chunk_end(size_t chunk, size_t n)
{
    return (chunk + 1) * CHUNK < n ? (chunk + 1) * CHUNK : n;
}

static double sum_grad_squares(const struct optim_step *s, const float *grad)
{
    size_t n = s->graph->n_trainable;
    double sum = 0;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (size_t c = 0; c < n_chunks(n); c++)
        s->partials[c] =
            s->simd->sum_squares(grad + c * CHUNK, chunk_end(c, n) - c * CHUNK);
    for (size_t c = 0; c < n_chunks(n); c++)
        sum += s->partials[c];
    return sum;
}

/* ---- parameters ---- */

static struct optim_coeffs optim_coeffs_of(const struct optim_step *s,
                                           double lr, double scale)
{
    const struct optim *o = s->optim;
    double t =
        (double)scaler_count_applied(s->weights->scaler.data, s->scalars->step);
    struct optim_coeffs coeffs = {
        .grad_scale = (float)scale,
        .lr = (float)lr,
        .beta1 = (float)o->beta1,
        .beta2 = (float)o->beta2,
        .one_minus_beta1 = (float)(1 - o->beta1),
        .one_minus_beta2 = (float)(1 - o->beta2),
        .eps = (float)o->eps,
        .weight_decay = (float)o->weight_decay,
        .momentum = (float)o->momentum,
        .step_size = (float)(lr / (1 - pow(o->beta1, t))),
        .bias_correction2_sqrt = (float)sqrt(1 - pow(o->beta2, t)),
        .decay_factor = 1,
    };
    if (o->rule == OPTIM_ADAMW) {
        coeffs.decay_factor = (float)(1 - lr * o->weight_decay);
        coeffs.weight_decay = 0;
    }
    return coeffs;
}

static void update_chunk(const struct optim_step *s,
                         const struct optim_coeffs *coeffs, const float *grad,
                         struct range chunk)
{
    const struct weights *w = s->weights;
    float *p = w->param.data + chunk.first, *m = w->m.data + chunk.first;
    float *v = w->v.data + chunk.first;
    const float *g = grad + chunk.first;
    switch (s->optim->rule) {
    case OPTIM_ADAM:
    case OPTIM_ADAMW:
        s->simd->adam(p, m, v, g, chunk.n, coeffs);
        break;
    case OPTIM_SGD:
        s->simd->sgd(p, m, g, chunk.n, coeffs);
        break;
    }
}

static void update_group(const struct optim_step *s,
                         const struct optim_coeffs *coeffs, const float *grad,
                         struct range group)
{
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (size_t c = 0; c < n_chunks(group.n); c++) {
        size_t first = c * CHUNK, end = chunk_end(c, group.n);
        update_chunk(s, coeffs, grad,
                     (struct range){group.first + first, end - first});
    }
}

static void update_params(const struct optim_step *s, const float *grad,
                          double norm)
{
    const struct graph *g = s->graph;
    double clip = s->optim->clip_norm;
    double scale = clip > 0 ? fmin(1, clip / (norm + CLIP_EPS)) : 1;
    size_t head = g->n_head < g->n_trainable ? g->n_head : g->n_trainable;
    struct optim_coeffs coeffs = optim_coeffs_of(s, s->scalars->lr, scale);
    update_group(s, &coeffs, grad, (struct range){0, head});
    coeffs = optim_coeffs_of(s, s->scalars->backbone_lr, scale);
    update_group(s, &coeffs, grad, (struct range){head, g->n_trainable - head});
}

/* ---- running statistics ---- */

static void update_running_stats(const struct optim_step *s, const float *batch)
{
    const struct graph *g = s->graph;
    double share = g->norm_momentum;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op != GRAPH_NORM || g->nodes[i].fixed_norm)
            continue;
        const struct graph_tensor *t = &g->stats[g->nodes[i].stats];
        float *running = s->weights->stats.data + t->offset;
        for (size_t k = 0; k < 2 * t->count; k++)
            running[k] = (float)((1 - share) * (double)running[k] +
                                 share * (double)batch[t->offset + k]);
    }
}

struct update_result optim_update(const struct optim_step *s,
                                  const float *exchange)
{
    const struct graph *g = s->graph;
    const float *stats = exchange + g->n_trainable;
    double sum = sum_grad_squares(s, exchange);
    bool finite = isfinite(sum) && stats[g->n_stats] == 0;
    for (size_t i = 0; i < g->n_stats; i++)
        finite = finite && isfinite(stats[i]);
    const struct loss_scaling no_scaling = {0};
    enum update_outcome outcome =
        scaler_advance(s->weights->scaler.data, &no_scaling, finite);
    if (outcome == UPDATE_APPLIED) {
        update_params(s, exchange, sqrt(sum));
        update_running_stats(s, stats);
    }
    return (struct update_result){
        .grad_norm = sqrt(sum), .loss_scale = 1, .outcome = outcome};
}

/* ---- exchange buffers ---- */

void optim_add(const struct simd *simd, int threads, float *to,
               const float *from, size_t n)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t c = 0; c < n_chunks(n); c++) {
        size_t first = c * CHUNK, end = chunk_end(c, n);
        simd->add(to + first, to + first, from + first, end - first);
    }
}

void optim_divide(int threads, float *x, size_t n, float by)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < n; i++)
        x[i] /= by;
}
