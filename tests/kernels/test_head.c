/*
 * The head on the device: dropout with the mask of model/dropout.h, linear
 * layers with split sums, the loss and its gradient against backend ref.
 */
#include "kernels/fixture.h"

#include "backend/ref/layers.h"
#include "backend/scaler.h"
#include "model/dropout.h"

#define SAME_MEMBER(a, x, b, y) \
    assert_int_equal(offsetof(struct a, x), offsetof(struct b, y))

static void shared_structs_have_the_layout_of_the_host(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct kernel_item), sizeof(struct batch_item));
    SAME_MEMBER(kernel_item, position, batch_item, position);
    SAME_MEMBER(kernel_item, index, batch_item, index);
    SAME_MEMBER(kernel_item, class_index, batch_item, class);
    SAME_MEMBER(kernel_item, box, batch_item, box);
    SAME_MEMBER(kernel_item, warp, batch_item, warp);
    SAME_MEMBER(kernel_item, color, batch_item, color);
    SAME_MEMBER(kernel_item, order, batch_item, order);
    assert_int_equal(sizeof(struct kernel_result), sizeof(struct result));
    SAME_MEMBER(kernel_result, l1, result, l1);
    SAME_MEMBER(kernel_result, ce, result, ce);
    SAME_MEMBER(kernel_result, box, result, box);
    SAME_MEMBER(kernel_result, class_index, result, class);
    SAME_MEMBER(kernel_result, score, result, score);
    assert_int_equal(SCALER_SCALE, 0);
}

static const struct kernel_queue few_blocks = {.max_blocks = 2};

/* ---- dropout ---- */

#define SEED 0x123456789abcdef0u

/* Two images in staging buffer 1 of 2. */
struct dropout_test {
    struct kernel_step step;
    struct kernel_item items[4];
    struct kernel_dropout d;
    size_t n;
};

static void dropout_test_open(struct dropout_test *t, enum kernel_type type,
                              int32_t area, int32_t c, int32_t ordinal,
                              double rate)
{
    memset(t, 0xff, sizeof *t);
    t->step.staging = 1;
    t->step.scalars.seed = SEED;
    t->items[2].position = 5;
    t->items[3].position = 0xfedcba9876543u;
    t->n = 2 * (size_t)area * (size_t)c;
    t->d = (struct kernel_dropout){.type = type,
                                   .n = 2,
                                   .area = area,
                                   .c = c,
                                   .ordinal = ordinal,
                                   .rate = rate,
                                   .relu = 1,
                                   .step = &t->step,
                                   .items = t->items};
}

/* The factors [n, area, c] that dropout applies, by model/dropout.h. */
static float *dropout_factors(const struct dropout_test *t)
{
    size_t area = (size_t)t->d.area, c = (size_t)t->d.c;
    float *factors = fill_nan(t->n * sizeof *factors);
    uint8_t *mask = fill_nan(area * c);
    for (size_t image = 0; image < 2; image++) {
        dropout_mask(SEED, t->items[2 + image].position, t->d.ordinal,
                     t->d.rate, area * c, mask);
        for (size_t p = 0; p < area; p++)
            for (size_t k = 0; k < c; k++)
                factors[(image * area + p) * c + k] =
                    mask[k * area + p] ? (float)(1 / (1 - t->d.rate)) : 0;
    }
    free(mask);
    return factors;
}

static void check_dropout(struct dropout_test *t)
{
    float *x = random_floats(t->n, 1, 0, 1), *dy = random_floats(t->n, 2, 0, 1);
    float *y = fill_nan(t->n * sizeof *y), *factors = dropout_factors(t);
    assert_int_equal(kernel_dropout_forward(few_blocks, &t->d, x, y), 0);
    for (size_t i = 0; i < t->n; i++)
        assert_true(y[i] == (x[i] <= 0 ? 0 : x[i]) * factors[i]);
    assert_int_equal(kernel_dropout_backward(few_blocks, &t->d, x, dy, y), 0);
    for (size_t i = 0; i < t->n; i++)
        assert_true(y[i] == (x[i] <= 0 ? 0 : dy[i]) * factors[i]);
    t->d.relu = 0; /* then x is not read, and dx may be dy */
    assert_int_equal(kernel_dropout_backward(few_blocks, &t->d, NULL, dy, dy),
                     0);
    float *was = random_floats(t->n, 2, 0, 1);
    for (size_t i = 0; i < t->n; i++)
        assert_true(dy[i] == was[i] * factors[i]);
    free(x);
    free(dy);
    free(y);
    free(factors);
    free(was);
}

static void dropout_has_the_mask_of_the_host(void **state)
{
    (void)state;
    struct dropout_test t;
    dropout_test_open(&t, KERNEL_F32, 49, 40, 0, 0.5);
    check_dropout(&t);
    dropout_test_open(&t, KERNEL_F32, 1, 24, 1, 0.2);
    check_dropout(&t);
    dropout_test_open(&t, KERNEL_F32, 9, 8, 255, 0);
    check_dropout(&t);
}

static void dropout_keeps_16_bit_values(void **state)
{
    (void)state;
    for (int i = 1; i < N_TYPES; i++) {
        struct dropout_test t;
        dropout_test_open(&t, all_types[i], 9, 24, 0, 0.5);
        float *x = random_floats(t.n, 1, 0, 1), *factors = dropout_factors(&t);
        round_to(t.d.type, x, t.n);
        void *stored = store_as(t.d.type, x, t.n);
        kernel_dropout_forward(few_blocks, &t.d, stored, stored);
        float *y = load_as(t.d.type, stored, t.n);
        for (size_t k = 0; k < t.n; k++) /* the factor is 2 */
            assert_true(y[k] == (x[k] <= 0 ? 0 : x[k]) * factors[k]);
        free(x);
        free(factors);
        free(stored);
        free(y);
    }
}

/* ---- linear layers ---- */

static void check_bias_forward(enum kernel_type type, int32_t splits, bool relu)
{
    const int32_t rows = 3, c = 40;
    size_t n = (size_t)(rows * c);
    float *partials = random_floats((size_t)splits * n, 1, 0, 1);
    float *bias = random_floats((size_t)c, 2, 0, 1);
    void *y = fill_nan(n * type_bytes(type));
    double *expected = fill_nan(n * sizeof *expected);
    int32_t not_finite[3] = {0};
    struct kernel_bias b = {.type = type,
                            .partial_type = KERNEL_F32,
                            .splits = splits,
                            .rows = rows,
                            .c = c,
                            .partials = partials,
                            .bias = bias,
                            .relu = relu,
                            .y = y,
                            .not_finite = not_finite};
    for (size_t i = 0; i < n; i++) {
        double sum = (double)bias[i % (size_t)c];
        for (size_t s = 0; s < (size_t)splits; s++)
            sum += (double)partials[s * n + i];
        expected[i] = relu && sum <= 0 ? 0 : sum;
    }
    assert_int_equal(kernel_bias_forward(few_blocks, &b), 0);
    float *loaded = load_as(type, y, n);
    compare_floats("y", loaded, expected, n, type_tolerance(type), 1);
    assert_true(not_finite[0] == 0 && not_finite[1] == 0 && not_finite[2] == 0);
    partials[(size_t)c + 3] = -INFINITY;
    assert_int_equal(kernel_bias_forward(few_blocks, &b), 0);
    assert_true(not_finite[0] == 0 && not_finite[1] == 1 && not_finite[2] == 0);
    free(partials);
    free(bias);
    free(y);
    free(expected);
    free(loaded);
}

static void partial_sums_are_added_with_the_bias(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        check_bias_forward(all_types[i], 7, true);
        check_bias_forward(all_types[i], 1, false);
    }
}

static void check_bias_backward(enum kernel_type type, bool relu)
{
    const int32_t rows = 301, c = 24;
    size_t n = (size_t)(rows * c);
    float *y = random_floats(n, 1, 0, 1), *dy = random_floats(n, 2, 0, 1);
    round_to(type, dy, n);
    void *stored_y = store_as(type, y, n), *stored = store_as(type, dy, n);
    float bias_grad[24];
    double expected[24] = {0};
    struct kernel_bias_backward b = {.type = type,
                                     .rows = rows,
                                     .c = c,
                                     .y = relu ? stored_y : NULL,
                                     .dy = stored,
                                     .dx = stored,
                                     .bias_grad = bias_grad};
    assert_int_equal(kernel_bias_backward(few_blocks, &b), 0);
    float *dx = load_as(type, stored, n);
    for (size_t i = 0; i < n; i++) {
        float g = relu && y[i] <= 0 ? 0 : dy[i];
        assert_true(dx[i] == g);
        expected[i % 24] += (double)g;
    }
    compare_floats("bias_grad", bias_grad, expected, 24, 1e-6, 0);
    free(y);
    free(dy);
    free(stored_y);
    free(stored);
    free(dx);
}

static void the_gradient_of_the_bias_is_a_column_sum(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        check_bias_backward(all_types[i], true);
        check_bias_backward(all_types[i], false);
    }
}

/* ---- loss ---- */

#define IMAGES  5
#define CLASSES 7
#define STRIDE  16
#define LOGITS  (4 + CLASSES)

struct loss_test {
    enum kernel_type type;
    struct kernel_step step;
    struct batch_item items[2 * IMAGES];
    float logits[IMAGES * STRIDE], flag, scaler[SCALER_N];
    void *stored, *dlogits;
    struct kernel_result results[2 * IMAGES];
    int32_t not_finite[IMAGES];
    double class_weights[CLASSES];
    struct kernel_loss l;
    /* ref */
    double ref_grad[IMAGES * LOGITS];
    struct result ref_results[IMAGES];
};

/* Image 3 is padding; the current items are in staging buffer 1, results go to
 * entry 1 of 2. */
static void loss_test_open(struct loss_test *t, enum kernel_type type)
{
    float *random = random_floats(IMAGES * (STRIDE + 4), 3, 0, 3);
    memset(t, 0xff, sizeof *t);
    t->type = type;
    t->step.staging = 1;
    t->step.n_forwards = 8;
    memcpy(t->logits, random, sizeof t->logits);
    round_to(type, t->logits, IMAGES * STRIDE);
    for (int i = 0; i < IMAGES; i++) {
        struct batch_item *item = &t->items[IMAGES + i];
        item->index = i == 3 ? -1 : 100 + i;
        item->class = i * 3 % CLASSES;
        for (int k = 0; k < 4; k++)
            item->box[k] = 112 + 20 * random[IMAGES * STRIDE + 4 * i + k];
        t->not_finite[i] = 0;
    }
    free(random);
    for (int i = 0; i < CLASSES; i++)
        t->class_weights[i] = 0.5 + 0.25 * i;
    t->stored = store_as(type, t->logits, IMAGES * STRIDE);
    t->dlogits = fill_nan(IMAGES * STRIDE * type_bytes(type));
    t->scaler[SCALER_SCALE] = 64;
    t->l = (struct kernel_loss){.type = type,
                                .n = IMAGES,
                                .classes = CLASSES,
                                .stride = STRIDE,
                                .size = 224,
                                .box_scale = 1,
                                .class_scale = 25,
                                .class_weights = t->class_weights,
                                .step = &t->step,
                                .items = (const struct kernel_item *)t->items,
                                .logits = t->stored,
                                .not_finite = t->not_finite,
                                .results = t->results,
                                .capacity = 2,
                                .dlogits = t->dlogits,
                                .flag = &t->flag,
                                .scaler = t->scaler};
}

static void loss_test_close(struct loss_test *t)
{
    free(t->stored);
    free(t->dlogits);
}

static void run_ref_loss(struct loss_test *t)
{
    const struct graph graph = {.loss = {.size = 224,
                                         .classes = CLASSES,
                                         .box_scale = 1,
                                         .class_scale = 25,
                                         .class_weights = t->class_weights}};
    const struct graph_node node = {.op = GRAPH_LOSS, .c = 1, .h = 1, .w = 1};
    const struct graph_node source = {
        .op = GRAPH_LINEAR, .c = LOGITS, .h = 1, .w = 1};
    double y[IMAGES * LOGITS], out[IMAGES], grad_out[IMAGES];
    for (int i = 0; i < IMAGES; i++) {
        for (int k = 0; k < LOGITS; k++) {
            y[i * LOGITS + k] = (double)t->logits[i * STRIDE + k];
            t->ref_grad[i * LOGITS + k] = 0;
        }
        grad_out[i] = 64.0 / IMAGES;
    }
    struct layer l = {.graph = &graph,
                      .node = &node,
                      .source = &source,
                      .batch = IMAGES,
                      .training = true,
                      .in = {y},
                      .out = out,
                      .grad_out = grad_out,
                      .grad_in = {t->ref_grad},
                      .items = t->items + IMAGES,
                      .results = t->ref_results};
    layer_forward(&l);
    layer_backward(&l);
}

/* The gradient is rounded to the type once; `tolerance` is on that scale. */
static void compare_loss_gradient(struct loss_test *t)
{
    float *grad = load_as(t->type, t->dlogits, IMAGES * STRIDE);
    for (int i = 0; i < IMAGES; i++) {
        compare_floats("dlogits", grad + i * STRIDE, t->ref_grad + i * LOGITS,
                       LOGITS, type_tolerance(t->type), 0);
        for (int k = LOGITS; k < STRIDE; k++)
            assert_true(grad[i * STRIDE + k] == 0);
    }
    free(grad);
}

static void compare_results(const struct kernel_result *a,
                            const struct result *b)
{
    for (int i = 0; i < IMAGES; i++) {
        assert_near((double)a[i].l1, (double)b[i].l1,
                    1e-6 * fabs((double)b[i].l1));
        assert_near((double)a[i].ce, (double)b[i].ce,
                    1e-6 * fabs((double)b[i].ce));
        for (int k = 0; k < 4; k++)
            assert_near((double)a[i].box[k], (double)b[i].box[k], 1e-4);
        assert_int_equal(a[i].class_index, b[i].class);
        assert_near((double)a[i].score, (double)b[i].score, 1e-6);
    }
}

static void loss_and_gradient_equal_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        struct loss_test t;
        loss_test_open(&t, all_types[i]);
        run_ref_loss(&t);
        assert_int_equal(kernel_loss(few_blocks, &t.l), 0);
        compare_results(t.results + IMAGES, t.ref_results);
        compare_loss_gradient(&t);
        assert_true(t.flag == 0);
        assert_true(isnan(t.results[0].l1)); /* entry 0 is not written */
        loss_test_close(&t);
    }
}

static void a_loss_that_is_not_finite_sets_the_flag(void **state)
{
    (void)state;
    struct loss_test t;
    loss_test_open(&t, KERNEL_F32);
    t.not_finite[3] = 1; /* padding: no loss */
    kernel_loss(few_blocks, &t.l);
    assert_true(t.flag == 0);
    t.not_finite[4] = 1;
    kernel_loss(few_blocks, &t.l);
    assert_true(t.flag == 1 && isnan(t.results[IMAGES + 4].ce));
    assert_true(!isnan(t.results[IMAGES].ce));
    kernel_loss(few_blocks, &t.l); /* the array was cleared */
    assert_true(t.flag == 0);
    ((float *)t.stored)[2 * STRIDE + 5] = NAN;
    kernel_loss(few_blocks, &t.l);
    assert_true(t.flag == 1);
    loss_test_close(&t);
}

static void evaluation_writes_results_only(void **state)
{
    (void)state;
    struct loss_test t;
    loss_test_open(&t, KERNEL_F32);
    run_ref_loss(&t);
    t.l.dlogits = NULL;
    t.l.flag = NULL;
    t.l.scaler = NULL;
    t.l.not_finite = NULL;
    assert_int_equal(kernel_loss(few_blocks, &t.l), 0);
    compare_results(t.results + IMAGES, t.ref_results);
    assert_true(isnan(t.flag) && isnan(((float *)t.dlogits)[0]));
    loss_test_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_structs_have_the_layout_of_the_host),
        cmocka_unit_test(dropout_has_the_mask_of_the_host),
        cmocka_unit_test(dropout_keeps_16_bit_values),
        cmocka_unit_test(partial_sums_are_added_with_the_bias),
        cmocka_unit_test(the_gradient_of_the_bias_is_a_column_sum),
        cmocka_unit_test(loss_and_gradient_equal_the_reference),
        cmocka_unit_test(a_loss_that_is_not_finite_sets_the_flag),
        cmocka_unit_test(evaluation_writes_results_only),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
