/*
 * The stem's batch norm, ReLU and max pooling on the device against the three
 * layers of backend ref, forward and backward.
 */
#include "kernels/fixture.h"

#include "kernels/ref_layer.h"

#define EPS 1e-5

struct stem_test {
    struct map_shape in, out;
    enum kernel_type type;
    bool uses_batch;
    size_t n_in, n_out, c;
    struct kernel_stem stem;
    float *weight, *bias, *running[2], *x, *dy; /* rounded to type */
    void *stored_x, *stored_dy, *y, *dx;
    uint32_t *index;
    float *weight_grad, *bias_grad;
    double *ref_y, *ref_dx, *ref_weight_grad, *ref_bias_grad; /* NHWC */
};

static void stem_test_open(struct stem_test *t, struct map_shape in,
                           enum kernel_type type, bool uses_batch)
{
    struct map_shape out = in;
    out.h = (in.h - 1) / 2 + 1;
    out.w = (in.w - 1) / 2 + 1;
    *t = (struct stem_test){.in = in,
                            .out = out,
                            .type = type,
                            .uses_batch = uses_batch,
                            .n_in = map_count(in),
                            .n_out = map_count(out),
                            .c = (size_t)in.c};
    t->weight = random_floats(t->c, 1, 0.5F, 1); /* some are negative */
    t->bias = random_floats(t->c, 2, 0, 0.5F);
    t->running[0] = random_floats(t->c, 3, 0.5F, 0.1F);
    t->running[1] = random_floats(t->c, 4, 3, 0.1F);
    t->x = random_map(in, type, 5, 0.5F, 1.5F);
    t->dy = random_map(out, type, 6, 0, 1);
    t->stored_x = store_as(type, t->x, t->n_in);
    t->stored_dy = store_as(type, t->dy, t->n_out);
    t->y = fill_nan(t->n_out * type_bytes(type));
    t->dx = fill_nan(t->n_in * type_bytes(type));
    t->index = fill_nan(t->n_out / 8 * sizeof *t->index);
    t->weight_grad = fill_nan(t->c * sizeof(float));
    t->bias_grad = fill_nan(t->c * sizeof(float));
    t->stem = (struct kernel_stem){
        .norm = {.type = type,
                 .rows = map_rows(in),
                 .c = in.c,
                 .eps = EPS,
                 .weight = t->weight,
                 .bias = t->bias,
                 .mean = fill_nan(t->c * sizeof(float)),
                 .inv_std = fill_nan(t->c * sizeof(float)),
                 .scale = fill_nan(t->c * sizeof(float)),
                 .partials = fill_nan(kernel_norm_partials(map_rows(in), in.c) *
                                      sizeof(double))},
        .n = in.n,
        .h = in.h,
        .w = in.w};
}

static void stem_test_close(struct stem_test *t)
{
    void *all[] = {t->weight,
                   t->bias,
                   t->running[0],
                   t->running[1],
                   t->x,
                   t->dy,
                   t->stored_x,
                   t->stored_dy,
                   t->y,
                   t->dx,
                   t->index,
                   t->weight_grad,
                   t->bias_grad,
                   t->stem.norm.mean,
                   t->stem.norm.inv_std,
                   t->stem.norm.scale,
                   t->stem.norm.partials,
                   t->ref_y,
                   t->ref_dx,
                   t->ref_weight_grad,
                   t->ref_bias_grad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- ref ---- */

static void run_ref(struct stem_test *t)
{
    const struct map_shape s = t->in, o = t->out;
    const struct graph graph = {.norm_eps = EPS};
    const struct graph_node norm = {.op = GRAPH_NORM,
                                    .c = s.c,
                                    .h = s.h,
                                    .w = s.w,
                                    .fixed_norm = !t->uses_batch};
    const struct graph_node relu = {
        .op = GRAPH_RELU, .c = s.c, .h = s.h, .w = s.w};
    const struct graph_node pool = {.op = GRAPH_MAXPOOL,
                                    .c = s.c,
                                    .h = o.h,
                                    .w = o.w,
                                    .kernel = 3,
                                    .stride = 2,
                                    .pad = 1};
    double *x = map_to_ref(s, t->x), *a = zeros(t->n_in), *b = zeros(t->n_in);
    double *y = zeros(t->n_out), *gy = map_to_ref(o, t->dy);
    double *gb = zeros(t->n_in), *ga = zeros(t->n_in), *gx = zeros(t->n_in);
    double *mean = doubles_of(t->running[0], t->c), *inv = zeros(t->c);
    double *weight = doubles_of(t->weight, t->c), *unbiased = zeros(t->c);
    double *bias = doubles_of(t->bias, t->c);
    for (size_t i = 0; i < t->c; i++)
        inv[i] = 1 / sqrt((double)t->running[1][i] + EPS);
    t->ref_weight_grad = zeros(t->c);
    t->ref_bias_grad = zeros(t->c);
    struct layer layers[3] = {{.node = &norm,
                               .source = &norm,
                               .in = {x},
                               .out = a,
                               .grad_out = ga,
                               .grad_in = {gx},
                               .weight = weight,
                               .bias = bias,
                               .grad_weight = t->ref_weight_grad,
                               .grad_bias = t->ref_bias_grad,
                               .mean = mean,
                               .inv_std = inv,
                               .unbiased = unbiased},
                              {.node = &relu,
                               .source = &norm,
                               .in = {a},
                               .out = b,
                               .grad_out = gb,
                               .grad_in = {ga}},
                              {.node = &pool,
                               .source = &relu,
                               .in = {b},
                               .out = y,
                               .grad_out = gy,
                               .grad_in = {gb}}};
    for (int i = 0; i < 3; i++) {
        layers[i].graph = &graph;
        layers[i].batch = s.n;
        layers[i].training = true;
        layer_forward(&layers[i]);
    }
    for (int i = 2; i >= 0; i--)
        layer_backward(&layers[i]);
    t->ref_y = map_from_ref(o, y);
    t->ref_dx = map_from_ref(s, gx);
    double *all[] = {x,  a,    b,   y,      gy,       gb,  ga,
                     gx, mean, inv, weight, unbiased, bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- the kernels ---- */

static void run_kernels(struct stem_test *t, struct kernel_queue queue)
{
    struct kernel_stem_backward b = {.x = t->stored_x,
                                     .dy = t->stored_dy,
                                     .index = t->index,
                                     .uses_batch = t->uses_batch,
                                     .weight_grad = t->weight_grad,
                                     .bias_grad = t->bias_grad,
                                     .dx = t->dx};
    int err = t->uses_batch ? kernel_norm_batch(queue, &t->stem.norm,
                                                t->stored_x, NULL, NULL)
                            : kernel_norm_running(queue, &t->stem.norm,
                                                  t->running[0], t->running[1]);
    assert_int_equal(err, 0);
    assert_int_equal(
        kernel_stem_forward(queue, &t->stem, t->stored_x, t->y, t->index, NULL),
        0);
    assert_int_equal(kernel_stem_backward(queue, &t->stem, &b), 0);
}

static void compare_map(struct stem_test *t, const char *what, const void *a,
                        const double *b, size_t n)
{
    float *loaded = load_as(t->type, a, n);
    compare_floats(what, loaded, b, n, type_tolerance(t->type), 2);
    free(loaded);
}

static const struct map_shape shapes[] = {
    {2, 8, 8, 64, 0}, {2, 7, 9, 24, 0}, {1, 1, 2, 8, 0}, {3, 13, 10, 72, 0}};

static void stem_equals_the_three_layers_of_the_reference(void **state)
{
    (void)state;
    const struct kernel_queue queue = {.max_blocks = 2};
    for (int i = 0; i < 4 * N_TYPES * 2; i++) {
        struct stem_test t;
        stem_test_open(&t, shapes[i / 6], all_types[i % 6 / 2], i % 2 == 0);
        run_ref(&t);
        run_kernels(&t, queue);
        /* Rounding of rows / chunks: sums of up to 400 terms. */
        compare_map(&t, "y", t.y, t.ref_y, t.n_out);
        compare_map(&t, "dx", t.dx, t.ref_dx, t.n_in);
        compare_floats("weight_grad", t.weight_grad, t.ref_weight_grad, t.c,
                       1e-6, 20);
        compare_floats("bias_grad", t.bias_grad, t.ref_bias_grad, t.c, 1e-6,
                       20);
        stem_test_close(&t);
    }
}

/* Small integers have many equal maxima: the first one gets the gradient. */
static void the_first_of_equal_maxima_gets_the_gradient(void **state)
{
    (void)state;
    const struct kernel_queue queue = {.max_blocks = 0};
    struct stem_test t;
    stem_test_open(&t, shapes[3], KERNEL_BF16, false);
    for (size_t i = 0; i < t.n_in; i++)
        t.x[i] = roundf(t.x[i]);
    free(t.stored_x);
    t.stored_x = store_as(t.type, t.x, t.n_in);
    run_ref(&t);
    run_kernels(&t, queue);
    compare_map(&t, "dx", t.dx, t.ref_dx, t.n_in);
    stem_test_close(&t);
}

static void nan_passes_the_pooling(void **state)
{
    (void)state;
    const struct kernel_queue queue = {.max_blocks = 0};
    struct stem_test t;
    int32_t not_finite[2] = {0};
    stem_test_open(&t, shapes[0], KERNEL_F32, false);
    ((float *)t.stored_x)[t.n_in / 2 + 64 * 9 + 5] =
        NAN; /* (1, 1) of image 1 */
    kernel_norm_running(queue, &t.stem.norm, t.running[0], t.running[1]);
    kernel_stem_forward(queue, &t.stem, t.stored_x, t.y, NULL, not_finite);
    const float *y = (const float *)t.y + t.n_out / 2 + 5;
    assert_true(isnan(y[0]) && isnan(y[64]) && isnan(y[4 * 64]) &&
                isnan(y[5 * 64]) && !isnan(y[2 * 64]));
    assert_true(not_finite[0] == 0 && not_finite[1] == 1);
    stem_test_close(&t);
}

static void the_grid_does_not_change_the_bits(void **state)
{
    (void)state;
    struct stem_test a, b;
    const struct map_shape shape = {2, 21, 21, 72, 0}; /* four chunks */
    stem_test_open(&a, shape, KERNEL_F16, true);
    stem_test_open(&b, shape, KERNEL_F16, true);
    run_kernels(&a, (struct kernel_queue){.max_blocks = 0});
    run_kernels(&b, (struct kernel_queue){.max_blocks = 1});
    assert_memory_equal(a.y, b.y, a.n_out * 2);
    assert_memory_equal(a.index, b.index, a.n_out / 2);
    assert_memory_equal(a.dx, b.dx, a.n_in * 2);
    assert_memory_equal(a.weight_grad, b.weight_grad, a.c * sizeof(float));
    stem_test_close(&a);
    stem_test_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stem_equals_the_three_layers_of_the_reference),
        cmocka_unit_test(the_first_of_equal_maxima_gets_the_gradient),
        cmocka_unit_test(nan_passes_the_pooling),
        cmocka_unit_test(the_grid_does_not_change_the_bits),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
