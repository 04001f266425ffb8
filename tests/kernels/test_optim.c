/*
 * Updates on the device against backend ref: the rules with head and backbone
 * rates, clipping and loss scaling, steps that are skipped or halt, and the
 * layout of the structs that device and host share.
 */
#include "kernels/fixture.h"

#include "backend/backend.h"
#include "backend/scaler.h"
#include "model/graph.h"

#define SAME_MEMBER(a, x, b, y) \
    assert_int_equal(offsetof(struct a, x), offsetof(struct b, y))

static void shared_structs_have_the_layout_of_the_host(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct kernel_scalars),
                     sizeof(struct step_scalars));
    SAME_MEMBER(kernel_scalars, seed, step_scalars, seed);
    SAME_MEMBER(kernel_scalars, step, step_scalars, step);
    SAME_MEMBER(kernel_scalars, lr, step_scalars, lr);
    SAME_MEMBER(kernel_scalars, backbone_lr, step_scalars, backbone_lr);
    assert_int_equal(sizeof(struct kernel_update_result),
                     sizeof(struct update_result));
    SAME_MEMBER(kernel_update_result, grad_norm, update_result, grad_norm);
    SAME_MEMBER(kernel_update_result, loss_scale, update_result, loss_scale);
    SAME_MEMBER(kernel_update_result, outcome, update_result, outcome);
    SAME_MEMBER(kernel_update_result, seconds, update_result, seconds);
    assert_int_equal(sizeof(struct kernel_optim), sizeof(struct optim));
    SAME_MEMBER(kernel_optim, rule, optim, rule);
    SAME_MEMBER(kernel_optim, weight_decay, optim, weight_decay);
    SAME_MEMBER(kernel_optim, clip_norm, optim, clip_norm);
    assert_int_equal(sizeof(struct kernel_scaling),
                     sizeof(struct loss_scaling));
    SAME_MEMBER(kernel_scaling, max_skipped, loss_scaling, max_skipped);
    assert_int_equal(KERNEL_ADAM, OPTIM_ADAM);
    assert_int_equal(KERNEL_ADAMW, OPTIM_ADAMW);
    assert_int_equal(KERNEL_SGD, OPTIM_SGD);
}

/* ---- a device with a net's state ---- */

#define CAPACITY 3

struct device {
    struct kernel_queue queue;
    struct kernel_step step;
    struct kernel_scalars staged[2];
    struct kernel_grad_summary summary;
    struct kernel_update_result results[CAPACITY];
    struct kernel_update_coeffs coeffs;
    float scaler[SCALER_N];
    struct kernel_update update;
};

static void device_open(struct device *d, const struct optim *optim,
                        const struct loss_scaling *scaling)
{
    *d = (struct device){.queue = {.max_blocks = 2}};
    memset(&d->coeffs, 0xff, sizeof d->coeffs);
    d->update = (struct kernel_update){.summary = &d->summary,
                                       .step = &d->step,
                                       .scaler = d->scaler,
                                       .results = d->results,
                                       .capacity = CAPACITY,
                                       .coeffs = &d->coeffs};
    memcpy(&d->update.optim, optim, sizeof *optim);
    memcpy(&d->update.scaling, scaling, sizeof *scaling);
}

/* Begins step `step` (1, 2, ...) and decides its update. */
static const struct kernel_update_result *
device_decide(struct device *d, const struct step_scalars *scalars,
              double squares, bool finite)
{
    uint32_t forward = d->step.n_forwards, update = d->step.n_updates;
    memcpy(&d->staged[forward % 2], scalars, sizeof *scalars);
    assert_int_equal(kernel_step_begin(d->queue, &d->step, d->staged), 0);
    memset(&d->staged[forward % 2], 0xff, sizeof *scalars); /* filled again */
    assert_int_equal(d->step.n_forwards, forward + 1);
    assert_int_equal(d->step.staging, forward % 2);
    d->summary = (struct kernel_grad_summary){squares, finite};
    assert_int_equal(kernel_update_decide(d->queue, &d->update), 0);
    assert_int_equal(d->step.n_updates, update + 1);
    return &d->results[update % CAPACITY];
}

/* ---- the scaler ---- */

/* Random steps, long enough for growth, skips in a row and a halt. */
static void check_scaler(const struct loss_scaling *scaling, uint64_t bad_every,
                         float start)
{
    struct optim optim = {.rule = OPTIM_SGD};
    struct device d;
    float expected[SCALER_N] = {[SCALER_SCALE] = start};
    device_open(&d, &optim, scaling);
    memcpy(d.scaler, expected, sizeof expected);
    for (uint64_t step = 1; step <= 60; step++) {
        bool finite = (step * step + step / 7) % bad_every != 0;
        struct step_scalars scalars = {.step = step};
        float scale = scaler_scale(expected, scaling);
        enum update_outcome outcome = scaler_advance(expected, scaling, finite);
        const struct kernel_update_result *r =
            device_decide(&d, &scalars, finite ? 4 : (double)NAN, finite);
        assert_memory_equal(d.scaler, expected, sizeof expected);
        assert_int_equal(r->outcome, outcome);
        assert_true(r->loss_scale == scale);
        assert_true(finite ? r->grad_norm == 2 / (double)scale
                           : isnan(r->grad_norm));
        assert_int_equal(d.coeffs.rule,
                         outcome == UPDATE_APPLIED ? KERNEL_SGD : -1);
    }
}

static void the_scaler_advances_as_on_the_host(void **state)
{
    (void)state;
    const struct loss_scaling none = {0}, some = {3, 2}, one = {1, 0};
    const float starts[] = {1 << 22, 1.0f / 8192}; /* near both limits */
    for (int i = 0; i < 2; i++) {
        check_scaler(&none, 1000, starts[i]);
        check_scaler(&none, 40, starts[i]);
        check_scaler(&some, 3, starts[i]);
        check_scaler(&some, 5, starts[i]);
        check_scaler(&some, 7, starts[i]);
        check_scaler(&some, 1000, starts[i]);
        check_scaler(&one, 9, starts[i]);
    }
}

/* ---- the rules ---- */

#define N      4099
#define N_HEAD 1021

/* Weights and moments of both sides: floats of the device and of ref. */
struct rule_test {
    struct optim optim;
    struct loss_scaling scaling;
    float *param, *m, *v, *grad;
    double *ref_param, *ref_m, *ref_v;
    uint16_t *shadow;
};

static void rule_test_open(struct rule_test *t)
{
    t->param = random_floats(N, 1, 0, 1);
    t->m = random_floats(N, 2, 0, 1e-3F);
    t->v = random_floats(N, 3, 0, 1e-3F);
    for (size_t i = 0; i < N; i++)
        t->v[i] *= t->v[i];
    t->ref_param = doubles_of(t->param, N);
    t->ref_m = doubles_of(t->m, N);
    t->ref_v = doubles_of(t->v, N);
    t->shadow = fill_nan(N * sizeof *t->shadow);
}

static void rule_test_close(struct rule_test *t)
{
    free(t->param);
    free(t->m);
    free(t->v);
    free(t->ref_param);
    free(t->ref_m);
    free(t->ref_v);
    free(t->shadow);
}

/* torch.optim's formulas in double. */
static void ref_rule(struct rule_test *t, const struct step_scalars *s,
                     double step, double grad_scale)
{
    const struct optim *o = &t->optim;
    double c1 = 1 - pow(o->beta1, step), c2 = 1 - pow(o->beta2, step);
    for (size_t i = 0; i < N; i++) {
        double lr = i < N_HEAD ? s->lr : s->backbone_lr;
        double *p = &t->ref_param[i], *m = &t->ref_m[i], *v = &t->ref_v[i];
        double g = (double)t->grad[i] * grad_scale;
        if (o->rule == OPTIM_ADAMW)
            *p *= 1 - lr * o->weight_decay;
        else
            g += o->weight_decay * *p;
        if (o->rule == OPTIM_SGD) {
            *m = o->momentum * *m + g;
            *p -= lr * *m;
            continue;
        }
        *m = o->beta1 * *m + (1 - o->beta1) * g;
        *v = o->beta2 * *v + (1 - o->beta2) * g * g;
        *p -= lr / c1 * *m / (sqrt(*v) / sqrt(c2) + o->eps);
    }
}

static double squares_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void rule_test_compare(struct rule_test *t, enum kernel_type type)
{
    compare_floats("param", t->param, t->ref_param, N, 1e-6, 1);
    compare_floats("m", t->m, t->ref_m, N, 1e-6, 1e-2);
    if (t->optim.rule != OPTIM_SGD)
        compare_floats("v", t->v, t->ref_v, N, 1e-6, 1e-6);
    void *expected = store_as(type, t->param, N);
    assert_memory_equal(t->shadow, expected, N * sizeof *t->shadow);
    free(expected);
}

/* Five steps, of which the third is not finite (skipped with scaling). */
static void rule_test_run(struct rule_test *t, enum kernel_type type)
{
    struct device d;
    const struct loss_scaling *scaling = &t->scaling;
    bool scaled = scaling->growth_steps > 0;
    rule_test_open(t);
    device_open(&d, &t->optim, scaling);
    d.scaler[SCALER_SCALE] = 256;
    struct kernel_params params = {.param = t->param,
                                   .m = t->m,
                                   .v = t->v,
                                   .n = N,
                                   .n_head = N_HEAD,
                                   .shadow = t->shadow,
                                   .shadow_type = type,
                                   .coeffs = &d.coeffs};
    for (uint64_t step = 1; step <= 5; step++) {
        struct step_scalars s = {
            .step = step, .lr = 1e-3 * (double)step, .backbone_lr = 1e-4};
        double scale = (double)scaler_scale(d.scaler, scaling);
        bool finite = !(scaled && step == 3);
        t->grad = random_floats(N, 10 + step, 0, (float)(scale * 1e-2));
        double squares = squares_of(t->grad, N), norm = sqrt(squares) / scale;
        double clip = t->optim.clip_norm, factor = 1;
        if (clip > 0)
            factor = fmin(1, clip / (norm + 1e-6));
        params.grad = t->grad;
        device_decide(&d, &s, squares, finite);
        assert_int_equal(kernel_update_params(d.queue, &params), 0);
        double applied = (double)(scaled && step > 3 ? step - 1 : step);
        if (finite)
            ref_rule(t, &s, applied, factor / scale);
        free(t->grad);
        rule_test_compare(t, type);
    }
    rule_test_close(t);
}

static void every_rule_equals_the_reference(void **state)
{
    (void)state;
    static const struct optim rules[] = {
        {.rule = OPTIM_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
        {.rule = OPTIM_ADAM,
         .beta1 = 0.9,
         .beta2 = 0.999,
         .eps = 1e-8,
         .weight_decay = 0.1,
         .clip_norm = 0.3},
        {.rule = OPTIM_ADAMW,
         .beta1 = 0.8,
         .beta2 = 0.99,
         .eps = 1e-6,
         .weight_decay = 0.1},
        {.rule = OPTIM_SGD,
         .momentum = 0.9,
         .weight_decay = 0.01,
         .clip_norm = 100},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct rule_test t = {.optim = rules[i]};
        rule_test_run(&t, KERNEL_BF16);
        t.scaling = (struct loss_scaling){2, 3};
        rule_test_run(&t, KERNEL_F16);
    }
}

/* ---- steps that change nothing ---- */

static void a_halted_update_changes_nothing(void **state)
{
    (void)state;
    struct optim optim = {.rule = OPTIM_SGD, .momentum = 0.9};
    const struct loss_scaling none = {0};
    struct step_scalars s = {.step = 1, .lr = 1, .backbone_lr = 1};
    struct device d;
    device_open(&d, &optim, &none);
    float *param = random_floats(N, 1, 0, 1), *m = random_floats(N, 2, 0, 1);
    float *grad = random_floats(N, 3, 0, 1), *was = random_floats(N, 1, 0, 1);
    struct kernel_params params = {.param = param,
                                   .m = m,
                                   .grad = grad,
                                   .n = N,
                                   .n_head = N,
                                   .coeffs = &d.coeffs};
    device_decide(&d, &s, 1, false);
    for (int i = 0; i < 2; i++) { /* also the finite step behind it */
        kernel_update_params(d.queue, &params);
        kernel_update_running(d.queue, param, grad, N, 0.1, &d.coeffs);
        assert_memory_equal(param, was, N * sizeof *was);
        device_decide(&d, &s, 1, true);
    }
    free(param);
    free(m);
    free(grad);
    free(was);
}

static void running_statistics_are_moving_averages(void **state)
{
    (void)state;
    struct optim optim = {.rule = OPTIM_SGD};
    const struct loss_scaling none = {0};
    struct step_scalars s = {.step = 1};
    struct device d;
    device_open(&d, &optim, &none);
    device_decide(&d, &s, 1, true);
    float *running = random_floats(1001, 1, 0, 1);
    float *was = random_floats(1001, 1, 0, 1);
    float *batch = random_floats(1000, 2, 0, 1);
    kernel_update_running(d.queue, running, batch, 1000, 0.1, &d.coeffs);
    for (size_t i = 0; i < 1000; i++)
        assert_true(running[i] == (float)((1 - 0.1) * (double)was[i] +
                                          0.1 * (double)batch[i]));
    assert_true(running[1000] == was[1000]);
    free(running);
    free(was);
    free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_structs_have_the_layout_of_the_host),
        cmocka_unit_test(the_scaler_advances_as_on_the_host),
        cmocka_unit_test(every_rule_equals_the_reference),
        cmocka_unit_test(a_halted_update_changes_nothing),
        cmocka_unit_test(running_statistics_are_moving_averages),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
