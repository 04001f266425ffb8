/*
 * Batch norm on the device against the layers of backend ref: statistics, the
 * map with residual, ReLU and mask, and backward, in all storage types, with
 * sizes that fill no block; the same bits for any grid.
 */
#include "kernels/fixture.h"

#include "kernels/ref_layer.h"

#define EPS 1e-5

struct norm_case {
    struct map_shape shape;
    bool residual, relu, uses_batch;
};

static const struct norm_case cases[] = {
    {{2, 9, 7, 24, 3}, false, true, true},
    {{2, 1, 1, 8, 0}, false, false, true},
    {{3, 11, 13, 72, 0}, true, true, true},
    {{1, 37, 31, 136, 1}, true, true, false},
    {{2, 19, 10, 64, 0}, true, false, true},
    {{5, 3, 3, 16, 0}, false, true, false},
    {{1, 91, 91, 8, 0}, false, true, true}, /* 33 chunks of rows */
};
#define N_CASES (sizeof cases / sizeof *cases)

/* ---- the arrays of one norm, and ref's ---- */

struct norm_test {
    struct norm_case k;
    enum kernel_type type;
    size_t rows, count;
    struct kernel_norm norm;
    float *weight, *bias, *stats[2]; /* stats: running or of the batch */
    float *x, *residual, *dy;        /* rounded to type */
    void *stored_x, *stored_residual, *stored_dy; /* the same, stored */
    /* Written by the kernels. */
    void *y, *dx, *dresidual;
    uint8_t *mask;
    float *weight_grad, *bias_grad;
    /* Of ref, NHWC. */
    double *ref_mean, *ref_var, *ref_y, *ref_dx, *ref_dresidual;
    double *ref_weight_grad, *ref_bias_grad;
};

static float *channel_floats(struct norm_test *t, uint64_t seed, float mean,
                             float deviation)
{
    struct map_shape s = t->k.shape;
    float *x = random_floats((size_t)s.c, seed, mean, deviation);
    for (int32_t i = s.c - s.padding; i < s.c; i++)
        x[i] = 0;
    return x;
}

static void norm_test_alloc(struct norm_test *t)
{
    size_t c = (size_t)t->k.shape.c, bytes = t->count * type_bytes(t->type);
    t->norm = (struct kernel_norm){
        .type = t->type,
        .rows = t->rows,
        .c = t->k.shape.c,
        .eps = EPS,
        .weight = t->weight,
        .bias = t->bias,
        .mean = fill_nan(c * sizeof(float)),
        .inv_std = fill_nan(c * sizeof(float)),
        .scale = fill_nan(c * sizeof(float)),
        .partials = fill_nan(kernel_norm_partials(t->rows, t->k.shape.c) *
                             sizeof(double))};
    t->y = fill_nan(bytes);
    t->dx = fill_nan(bytes);
    t->dresidual = fill_nan(bytes);
    t->mask = fill_nan(t->count / 8);
    t->weight_grad = fill_nan(c * sizeof(float));
    t->bias_grad = fill_nan(c * sizeof(float));
}

static void norm_test_open(struct norm_test *t, const struct norm_case *k,
                           enum kernel_type type, float mean)
{
    *t = (struct norm_test){.k = *k, .type = type};
    t->rows = map_rows(k->shape);
    t->count = map_count(k->shape);
    t->weight = channel_floats(t, 1, 1, 0.3F);
    t->bias = channel_floats(t, 2, 0, 0.3F);
    t->stats[0] = channel_floats(t, 3, mean, 0.1F);
    t->stats[1] = random_floats((size_t)k->shape.c, 4, 3, 0.1F);
    t->x = random_map(k->shape, type, 5, mean, 1.5F);
    t->residual = random_map(k->shape, type, 6, 0, 1);
    t->dy = random_map(k->shape, type, 7, 0, 1);
    t->stored_x = store_as(type, t->x, t->count);
    t->stored_residual = store_as(type, t->residual, t->count);
    t->stored_dy = store_as(type, t->dy, t->count);
    norm_test_alloc(t);
}

static void norm_test_close(struct norm_test *t)
{
    void *all[] = {t->weight,
                   t->bias,
                   t->stats[0],
                   t->stats[1],
                   t->x,
                   t->residual,
                   t->dy,
                   t->stored_x,
                   t->stored_residual,
                   t->stored_dy,
                   t->y,
                   t->dx,
                   t->dresidual,
                   t->mask,
                   t->weight_grad,
                   t->bias_grad,
                   t->ref_mean,
                   t->ref_var,
                   t->ref_y,
                   t->ref_dx,
                   t->norm.mean,
                   t->norm.inv_std,
                   t->norm.scale,
                   t->norm.partials,
                   t->ref_dresidual,
                   t->ref_weight_grad,
                   t->ref_bias_grad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- ref ---- */

/* The layers norm, add and relu, forward and backward. */
static void run_ref(struct norm_test *t)
{
    struct map_shape s = t->k.shape;
    int32_t c = s.c - s.padding;
    size_t n = t->rows * (size_t)c, channels = (size_t)s.c;
    const struct graph graph = {.norm_eps = EPS};
    const struct graph_node node = {.op = GRAPH_NORM,
                                    .c = c,
                                    .h = s.h,
                                    .w = s.w,
                                    .fixed_norm = !t->k.uses_batch};
    double *x = map_to_ref(s, t->x), *g = map_to_ref(s, t->dy);
    double *residual = map_to_ref(s, t->residual), *y = zeros(n);
    double *dx = zeros(n), *inv_std = zeros(channels);
    double *weight = doubles_of(t->weight, channels);
    double *bias = doubles_of(t->bias, channels);
    t->ref_mean = doubles_of(t->stats[0], channels);
    t->ref_var = doubles_of(t->stats[1], channels);
    t->ref_weight_grad = zeros(channels);
    t->ref_bias_grad = zeros(channels);
    for (int32_t i = 0; i < c; i++)
        inv_std[i] = 1 / sqrt(t->ref_var[i] + EPS);
    struct layer l = {.graph = &graph,
                      .node = &node,
                      .source = &node,
                      .batch = s.n,
                      .training = true,
                      .in = {x, NULL},
                      .out = y,
                      .weight = weight,
                      .bias = bias,
                      .grad_out = g,
                      .grad_in = {dx, NULL},
                      .grad_weight = t->ref_weight_grad,
                      .grad_bias = t->ref_bias_grad,
                      .mean = t->ref_mean,
                      .inv_std = inv_std,
                      .unbiased = t->ref_var};
    layer_forward(&l);
    for (size_t i = 0; i < n; i++) {
        y[i] += t->k.residual ? residual[i] : 0;
        g[i] = t->k.relu && y[i] <= 0 ? 0 : g[i];
        y[i] = t->k.relu && y[i] <= 0 ? 0 : y[i];
    }
    layer_backward(&l);
    t->ref_y = map_from_ref(s, y);
    t->ref_dx = map_from_ref(s, dx);
    t->ref_dresidual = map_from_ref(s, g);
    free(x);
    free(g);
    free(residual);
    free(y);
    free(dx);
    free(inv_std);
    free(weight);
    free(bias);
}

/* ---- the kernels ---- */

static void run_forward(struct norm_test *t, struct kernel_queue queue,
                        float *batch_mean, float *batch_var)
{
    struct kernel_norm_apply apply = {
        .x = t->stored_x,
        .residual = t->k.residual ? t->stored_residual : NULL,
        .relu = t->k.relu,
        .y = t->y,
        .mask = t->k.relu ? t->mask : NULL};
    if (t->k.uses_batch)
        assert_int_equal(kernel_norm_batch(queue, &t->norm, t->stored_x,
                                           batch_mean, batch_var),
                         0);
    else
        assert_int_equal(
            kernel_norm_running(queue, &t->norm, t->stats[0], t->stats[1]), 0);
    assert_int_equal(kernel_norm_apply(queue, &t->norm, &apply), 0);
}

static void run_backward(struct norm_test *t, struct kernel_queue queue)
{
    struct kernel_norm_backward b = {.x = t->stored_x,
                                     .dy = t->stored_dy,
                                     .mask = t->k.relu ? t->mask : NULL,
                                     .uses_batch = t->k.uses_batch,
                                     .weight_grad = t->weight_grad,
                                     .bias_grad = t->bias_grad,
                                     .dx = t->dx,
                                     .dresidual = t->dresidual};
    assert_int_equal(kernel_norm_backward(queue, &t->norm, &b), 0);
}

/* With two rows dx is a difference of nearly equal terms. */
static void compare_map(struct norm_test *t, const char *what, const void *a,
                        const double *b)
{
    float *loaded = load_as(t->type, a, t->count);
    compare_floats(what, loaded, b, t->count, type_tolerance(t->type),
                   t->rows == 2 ? 10 : 1);
    free(loaded);
}

static void compare_mask(struct norm_test *t)
{
    for (size_t i = 0; t->k.relu && i < t->count; i++)
        assert_int_equal(t->mask[i / 8] >> i % 8 & 1, t->ref_y[i] > 0);
}

/* Channel sums are compared on the scale of a sum of `rows` terms. */
static void compare_gradients(struct norm_test *t)
{
    size_t c = (size_t)(t->k.shape.c - t->k.shape.padding);
    double scale = sqrt((double)t->rows);
    compare_map(t, "dx", t->dx, t->ref_dx);
    compare_map(t, "dresidual", t->dresidual, t->ref_dresidual);
    compare_floats("weight_grad", t->weight_grad, t->ref_weight_grad, c, 1e-6,
                   scale);
    compare_floats("bias_grad", t->bias_grad, t->ref_bias_grad, c, 1e-6, scale);
}

static const struct kernel_queue few_blocks = {.max_blocks = 3};

static void forward_and_backward_equal_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES * N_TYPES; i++) {
        struct norm_test t;
        norm_test_open(&t, &cases[i / N_TYPES], all_types[i % N_TYPES], 0.5F);
        run_ref(&t);
        run_forward(&t, few_blocks, t.weight_grad, t.bias_grad);
        if (t.k.uses_batch) {
            size_t c = (size_t)(t.k.shape.c - t.k.shape.padding);
            compare_floats("mean", t.weight_grad, t.ref_mean, c, 1e-6, 1);
            compare_floats("variance", t.bias_grad, t.ref_var, c, 1e-6, 1);
        }
        compare_map(&t, "y", t.y, t.ref_y);
        compare_mask(&t);
        run_backward(&t, few_blocks);
        compare_gradients(&t);
        norm_test_close(&t);
    }
}

static void a_mean_far_from_zero_costs_no_accuracy(void **state)
{
    (void)state;
    struct norm_test t;
    norm_test_open(&t, &cases[2], KERNEL_F32, 1000);
    run_ref(&t);
    run_forward(&t, few_blocks, t.weight_grad, t.bias_grad);
    compare_floats("mean", t.weight_grad, t.ref_mean, 72, 1e-6, 0);
    compare_floats("variance", t.bias_grad, t.ref_var, 72, 1e-6, 0);
    norm_test_close(&t);
}

/* ---- bits ---- */

static void compare_bits(struct norm_test *a, struct norm_test *b)
{
    size_t c = (size_t)a->k.shape.c * sizeof(float);
    size_t bytes = a->count * type_bytes(a->type);
    assert_memory_equal(a->norm.mean, b->norm.mean, c);
    assert_memory_equal(a->norm.scale, b->norm.scale, c);
    assert_memory_equal(a->weight_grad, b->weight_grad, c);
    assert_memory_equal(a->bias_grad, b->bias_grad, c);
    assert_memory_equal(a->y, b->y, bytes);
    assert_memory_equal(a->dx, b->dx, bytes);
    assert_memory_equal(a->dresidual, b->dresidual, bytes);
}

static void the_grid_does_not_change_the_bits(void **state)
{
    (void)state;
    static const struct kernel_queue queues[] = {
        {.max_blocks = 0}, {.max_blocks = 1}, {.max_blocks = 5}};
    /* 6 chunks of rows, the last one partial */
    const struct norm_case k = {{3, 21, 21, 72, 0}, true, true, true};
    struct norm_test t[3];
    for (int i = 0; i < 3; i++) {
        norm_test_open(&t[i], &k, KERNEL_BF16, 0.5F);
        run_forward(&t[i], queues[i], NULL, NULL);
        run_backward(&t[i], queues[i]);
    }
    compare_bits(&t[0], &t[1]);
    compare_bits(&t[0], &t[2]);
    for (int i = 0; i < 3; i++)
        norm_test_close(&t[i]);
}

/* ---- special arguments ---- */

static void values_that_are_not_finite_are_reported_per_image(void **state)
{
    (void)state;
    const struct norm_case k = {{4, 3, 5, 16, 0}, false, true, false};
    for (int i = 0; i < N_TYPES; i++) {
        struct norm_test t;
        norm_test_open(&t, &k, all_types[i], 0);
        float bad[2] = {-INFINITY, NAN};
        size_t at[2] = {15 * 16 * 1 + 7, 15 * 16 * 3 + 230};
        int32_t not_finite[4] = {0};
        for (int b = 0; b < 2; b++) {
            void *stored = store_as(t.type, &bad[b], 1);
            size_t bytes = type_bytes(t.type);
            memcpy((char *)t.stored_x + at[b] * bytes, stored, bytes);
            free(stored);
        }
        struct kernel_norm_apply apply = {.x = t.stored_x,
                                          .relu = 1,
                                          .y = t.stored_x,
                                          .not_finite = not_finite,
                                          .image_rows = 15};
        kernel_norm_running(few_blocks, &t.norm, t.stats[0], t.stats[1]);
        assert_int_equal(kernel_norm_apply(few_blocks, &t.norm, &apply), 0);
        float *y = load_as(t.type, t.stored_x, t.count);
        assert_true(y[at[0]] == 0); /* -inf is hidden by the ReLU */
        assert_true(isnan(y[at[1]]));
        const int32_t expected[4] = {0, 1, 0, 1};
        assert_memory_equal(not_finite, expected, sizeof expected);
        free(y);
        norm_test_close(&t);
    }
}

/* y in place of x, then of the residual. */
static void forward_may_work_in_place(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct norm_test t;
        norm_test_open(&t, &cases[2], KERNEL_BF16, 0.5F);
        run_ref(&t);
        struct kernel_norm_apply apply = {
            .x = t.stored_x, .residual = t.stored_residual, .relu = 1};
        apply.y = i == 0 ? t.stored_x : t.stored_residual;
        kernel_norm_batch(few_blocks, &t.norm, t.stored_x, NULL, NULL);
        assert_int_equal(kernel_norm_apply(few_blocks, &t.norm, &apply), 0);
        compare_map(&t, "y", apply.y, t.ref_y);
        norm_test_close(&t);
    }
}

/* dx in place of dy, and only the parameters' gradients. */
static void backward_may_work_in_place(void **state)
{
    (void)state;
    struct norm_test t;
    norm_test_open(&t, &cases[2], KERNEL_F16, 0.5F);
    run_ref(&t);
    run_forward(&t, few_blocks, NULL, NULL);
    struct kernel_norm_backward b = {.x = t.stored_x,
                                     .dy = t.stored_dy,
                                     .mask = t.mask,
                                     .uses_batch = 1,
                                     .weight_grad = t.weight_grad,
                                     .bias_grad = t.bias_grad};
    assert_int_equal(kernel_norm_backward(few_blocks, &t.norm, &b), 0);
    b.dx = t.stored_dy;
    b.dresidual = t.dresidual;
    assert_int_equal(kernel_norm_backward(few_blocks, &t.norm, &b), 0);
    memcpy(t.dx, t.stored_dy, t.count * 2);
    compare_gradients(&t);
    norm_test_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_and_backward_equal_the_reference),
        cmocka_unit_test(a_mean_far_from_zero_costs_no_accuracy),
        cmocka_unit_test(the_grid_does_not_change_the_bits),
        cmocka_unit_test(values_that_are_not_finite_are_reported_per_image),
        cmocka_unit_test(forward_may_work_in_place),
        cmocka_unit_test(backward_may_work_in_place),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
