/*
 * The optimizer step on flat buffers, without a branch on the host:
 *
 *   1. decide_update, one thread: the loss scaler's state machine (as
 *      backend/scaler.c), then the factors of this step in double; rule -1 if
 *      the step changes nothing.
 *   2. update_params, four elements per thread: the rule in float32. It reads
 *      16 and writes 12 bytes per parameter (Adam), plus 2 for the 16-bit
 *      shadow, and is bound by that.
 *   3. update_running: the moving averages of the batch statistics.
 */
#include "kernels_internal.h"

/* torch.nn.utils.clip_grad_norm_ adds this to the norm. */
#define CLIP_EPS 1e-6

/* ---- the loss scaler ---- */

/* As enum scaler_element and enum update_outcome. */
enum { SCALE, APPLIED_IN_ROW, SKIPPED, SKIPPED_IN_ROW, HALTED };
enum { OUTCOME_APPLIED, OUTCOME_SKIPPED, OUTCOME_HALTED };

#define SCALE_FACTOR 2.0f
#define MAX_SCALE    16777216.0f
#define MIN_SCALE    (1.0f / 16384.0f)

static __device__ int skip_step(float *state, struct kernel_scaling scaling)
{
    state[SKIPPED_IN_ROW] += 1;
    if (state[SKIPPED_IN_ROW] > (float)scaling.max_skipped) {
        state[HALTED] = 1;
        return OUTCOME_HALTED;
    }
    state[SKIPPED] += 1;
    state[APPLIED_IN_ROW] = 0;
    if (state[SCALE] > MIN_SCALE)
        state[SCALE] /= SCALE_FACTOR;
    return OUTCOME_SKIPPED;
}

static __device__ int advance_scaler(float *state,
                                     struct kernel_scaling scaling, int finite)
{
    if (state[HALTED] != 0)
        return OUTCOME_HALTED;
    if (!finite)
        return skip_step(state, scaling);
    state[SKIPPED_IN_ROW] = 0;
    if (scaling.growth_steps == 0)
        return OUTCOME_APPLIED;
    state[APPLIED_IN_ROW] += 1;
    if (state[APPLIED_IN_ROW] >= (float)scaling.growth_steps) {
        state[APPLIED_IN_ROW] = 0;
        if (state[SCALE] < MAX_SCALE)
            state[SCALE] *= SCALE_FACTOR;
    }
    return OUTCOME_APPLIED;
}

/* ---- coefficients ---- */

/* x^n by repeated squaring: the same bits on any device, unlike pow(). */
static __device__ double power(double x, uint64_t n)
{
    double result = 1;
    for (; n > 0; n /= 2, x *= x) {
        if (n % 2)
            result *= x;
    }
    return result;
}

static __device__ void set_coeffs(const struct kernel_optim *o, double lr,
                                  double backbone_lr, uint64_t t,
                                  struct kernel_update_coeffs *c)
{
    double correction1 = 1 - power(o->beta1, t);
    const double rates[2] = {lr, backbone_lr};
    c->rule = (int32_t)o->rule;
    c->beta1 = (float)o->beta1;
    c->beta2 = (float)o->beta2;
    c->one_minus_beta1 = (float)(1 - o->beta1);
    c->one_minus_beta2 = (float)(1 - o->beta2);
    c->eps = (float)o->eps;
    c->bias_correction2_sqrt = (float)sqrt(1 - power(o->beta2, t));
    c->weight_decay = o->rule == KERNEL_ADAMW ? 0 : (float)o->weight_decay;
    c->momentum = (float)o->momentum;
    for (int i = 0; i < 2; i++) {
        double decay = 1 - rates[i] * o->weight_decay;
        c->lr[i] = (float)rates[i];
        c->step_size[i] = (float)(rates[i] / correction1);
        c->decay[i] = o->rule == KERNEL_ADAMW ? (float)decay : 1;
    }
}

struct decide_args {
    struct kernel_update u;
};

KERNEL(decide_update, decide_args, a)
{
    if (threadIdx.x != 0)
        return;
    struct kernel_step *step = a.u.step;
    const struct kernel_optim *o = &a.u.optim;
    double scale = 1, clip = 1;
    if (a.u.scaling.growth_steps > 0)
        scale = (double)a.u.scaler[SCALE];
    double norm = sqrt(a.u.summary->squares) / scale;
    int outcome = advance_scaler(a.u.scaler, a.u.scaling, a.u.summary->finite);
    struct kernel_update_result *result =
        &a.u.results[step->n_updates++ % a.u.capacity];
    result->grad_norm = norm;
    result->loss_scale = (float)scale;
    result->outcome = outcome;
    result->seconds = 0;
    a.u.coeffs->rule = -1;
    if (outcome != OUTCOME_APPLIED)
        return;
    if (o->clip_norm > 0 && o->clip_norm / (norm + CLIP_EPS) < 1)
        clip = o->clip_norm / (norm + CLIP_EPS);
    a.u.coeffs->grad_scale = (float)(clip / scale);
    uint64_t t = step->scalars.step - (uint64_t)a.u.scaler[SKIPPED];
    set_coeffs(o, step->scalars.lr, step->scalars.backbone_lr, t, a.u.coeffs);
}

int kernel_update_decide(struct kernel_queue queue,
                         const struct kernel_update *u)
{
    struct decide_args args = {*u};
    return LAUNCH(decide_update, queue, 1, 1, args);
}

/* ---- parameters ---- */

/* Of one element. An array that is indexed by a variable would be in memory,
 * so the pairs of coefficients are selected. */
static __device__ __forceinline__ void
update_element(const struct kernel_update_coeffs *c, int backbone, float g,
               float *p, float *m, float *v)
{
    float grad = g * c->grad_scale + c->weight_decay * *p;
    if (c->rule == KERNEL_SGD) {
        *m = c->momentum * *m + grad;
        *p -= (backbone ? c->lr[1] : c->lr[0]) * *m;
        return;
    }
    *m = c->beta1 * *m + c->one_minus_beta1 * grad;
    *v = c->beta2 * *v + c->one_minus_beta2 * (grad * grad);
    float denominator = sqrtf(*v) / c->bias_correction2_sqrt + c->eps;
    float step_size = backbone ? c->step_size[1] : c->step_size[0];
    float decay = backbone ? c->decay[1] : c->decay[0];
    *p = *p * decay - step_size * (*m / denominator);
}

/* Four elements from index i. */
static __device__ __forceinline__ void
update_vector(const struct kernel_params *a,
              const struct kernel_update_coeffs *c, size_t i)
{
    float p[4], g[4], m[4], v[4] = {0, 0, 0, 0};
    int adam = c->rule != KERNEL_SGD;
    load4f(a->param, i, p);
    load4f(a->grad, i, g);
    load4f(a->m, i, m);
    if (adam)
        load4f(a->v, i, v);
    for (size_t k = 0; k < 4; k++)
        update_element(c, i + k >= a->n_head, g[k], &p[k], &m[k], &v[k]);
    store4f(a->param, i, p);
    store4f(a->m, i, m);
    if (adam)
        store4f(a->v, i, v);
    if (a->shadow)
        store4h(a->shadow, i, p, a->shadow_type);
}

static __device__ __forceinline__ void
update_scalar(const struct kernel_params *a,
              const struct kernel_update_coeffs *c, size_t i)
{
    float unused = 0;
    float *v = c->rule == KERNEL_SGD ? &unused : &a->v[i];
    update_element(c, i >= a->n_head, a->grad[i], &a->param[i], &a->m[i], v);
    if (a->shadow)
        store1(a->shadow, i, a->param[i], a->shadow_type);
}

struct params_args {
    struct kernel_params p;
};

KERNEL(update_params, params_args, a)
{
    struct kernel_update_coeffs c = *a.p.coeffs;
    if (c.rule < 0)
        return;
    size_t step = (size_t)gridDim.x * KERNEL_THREADS * 4;
    size_t i = ((size_t)blockIdx.x * KERNEL_THREADS + threadIdx.x) * 4;
    for (; i < a.p.n; i += step) {
        if (i + 4 <= a.p.n) {
            update_vector(&a.p, &c, i);
            continue;
        }
        for (size_t k = i; k < a.p.n; k++)
            update_scalar(&a.p, &c, k);
    }
}

int kernel_update_params(struct kernel_queue queue,
                         const struct kernel_params *p)
{
    struct params_args args = {*p};
    size_t tile = 4 * KERNEL_THREADS;
    return LAUNCH(update_params, queue,
                  grid_blocks(queue, (p->n + tile - 1) / tile, 1), 1, args);
}

/* ---- running statistics ---- */

struct running_args {
    float *running;
    const float *batch;
    size_t n;
    double momentum;
    const struct kernel_update_coeffs *coeffs;
};

KERNEL(update_running, running_args, a)
{
    if (a.coeffs->rule < 0)
        return;
    size_t step = (size_t)gridDim.x * KERNEL_THREADS;
    size_t i = (size_t)blockIdx.x * KERNEL_THREADS + threadIdx.x;
    for (; i < a.n; i += step)
        a.running[i] = (float)((1 - a.momentum) * (double)a.running[i] +
                               a.momentum * (double)a.batch[i]);
}

int kernel_update_running(struct kernel_queue queue, float *running,
                          const float *batch, size_t n, double momentum,
                          const struct kernel_update_coeffs *coeffs)
{
    struct running_args args = {running, batch, n, momentum, coeffs};
    size_t blocks = (n + KERNEL_THREADS - 1) / KERNEL_THREADS;
    return LAUNCH(update_running, queue, grid_blocks(queue, blocks, 1), 1,
                  args);
}
