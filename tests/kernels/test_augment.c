/*
 * Augmentation on the device against backend/pixels.h, for staged and resident
 * images, all orders of the color changes and both layouts; and the stem's
 * convolution on the space-to-depth layout against that on the image.
 */
#include "kernels/fixture.h"

#include "backend/pixels.h"
#include "backend/ref/layers.h"
#include "base/rng.h"
#include "data/augment.h"

static const float mean[3] = {0.485F, 0.456F, 0.406F};
static const float std[3] = {0.229F, 0.224F, 0.225F};
static const struct kernel_queue few_blocks = {.max_blocks = 2};

/* n images in staging buffer 1; item i has position i. */
struct augment_test {
    int32_t n, size;
    struct batch_item *items; /* [2 n]; the first n are not used */
    uint8_t *pixels;          /* [2 n, size, size, 3] */
    struct kernel_step step;
    struct kernel_augment a;
    size_t count; /* elements of out */
};

static size_t image_bytes(const struct augment_test *t)
{
    return 3 * (size_t)t->size * (size_t)t->size;
}

static void augment_test_open(struct augment_test *t, int32_t n, int32_t size,
                              const struct augment *augment)
{
    *t = (struct augment_test){.n = n, .size = size, .step = {.staging = 1}};
    size_t images = 2 * (size_t)n, bytes = images * image_bytes(t);
    t->items = fill_nan(images * sizeof *t->items);
    t->pixels = fill_nan(bytes);
    for (size_t i = 0; i < bytes; i++)
        t->pixels[i] = (uint8_t)(256 * rng_uniform(9, RNG_TEST, i, 0));
    for (int32_t i = 0; i < n; i++) {
        struct batch_item *item = &t->items[n + i];
        const float box[4] = {0, 0, 1, 1};
        item->position = (uint64_t)i;
        item->index = n + i;
        augment_draw(augment, 4, size, box, item);
    }
    t->a = (struct kernel_augment){
        .n = n,
        .size = size,
        .staged = t->pixels,
        .step = &t->step,
        .items = (const struct kernel_item *)t->items,
        .partials =
            fill_nan(kernel_augment_partials(n, size) * sizeof(double))};
    memcpy(t->a.mean, mean, sizeof mean);
    memcpy(t->a.std, std, sizeof std);
}

static void augment_test_close(struct augment_test *t)
{
    free(t->items);
    free(t->pixels);
    free(t->a.partials);
}

/* Runs the kernels; the output as floats. */
static float *run(struct augment_test *t, enum kernel_type type,
                  enum kernel_layout layout, int32_t c)
{
    size_t side = (size_t)(layout == KERNEL_NHWC ? t->size : (t->size + 6) / 2);
    t->count = (size_t)t->n * side * side * (size_t)c;
    t->a.type = type;
    t->a.layout = layout;
    t->a.c = c;
    t->a.out = fill_nan(t->count * type_bytes(type));
    assert_int_equal(kernel_augment(few_blocks, &t->a), 0);
    float *out = load_as(type, t->a.out, t->count);
    free(t->a.out);
    return out;
}

/* Image i of the output [size, size, c] against the reference, in 0..1. */
static void compare_image(struct augment_test *t, int32_t i, const float *out,
                          size_t c, double tolerance)
{
    size_t n = (size_t)t->size * (size_t)t->size;
    double *expected = fill_nan(3 * n * sizeof *expected);
    const struct batch_item *item = &t->items[t->n + i];
    size_t at = t->a.resident ? (size_t)item->index : (size_t)(t->n + i);
    pixels_to_input(item, t->pixels + at * image_bytes(t), t->size, mean, std,
                    expected);
    for (size_t p = 0; p < n; p++) {
        for (size_t k = 0; k < 3; k++)
            assert_near((double)out[p * c + k] * (double)std[k],
                        expected[k * n + p] * (double)std[k], tolerance);
        for (size_t k = 3; k < c; k++)
            assert_true(out[p * c + k] == 0);
    }
    free(expected);
}

static void compare_images(struct augment_test *t, int32_t c, double tolerance)
{
    float *out = run(t, KERNEL_F32, KERNEL_NHWC, c);
    size_t n = (size_t)t->size * (size_t)t->size * (size_t)c;
    for (int32_t i = 0; i < t->n; i++)
        compare_image(t, i, out + (size_t)i * n, (size_t)c, tolerance);
    free(out);
}

static const struct augment strong = {.enable = true,
                                      .flip = 0.5,
                                      .rotate = 30,
                                      .brightness = 0.4,
                                      .contrast = 0.4,
                                      .saturation = 0.4,
                                      .hue = 0.3};

/* float32 is far more exact than 1/255. */
#define EXACT 2e-4

static void images_equal_the_reference(void **state)
{
    (void)state;
    struct augment_test t;
    augment_test_open(&t, 40, 17, &strong); /* most of the 24 orders */
    compare_images(&t, 8, EXACT);
    augment_test_close(&t);
    augment_test_open(&t, 3, 65, &strong); /* three chunks of gray values */
    compare_images(&t, 4, EXACT);
    augment_test_close(&t);
}

static void an_image_that_is_not_augmented_stays(void **state)
{
    (void)state;
    struct augment_test t;
    augment_test_open(&t, 2, 33, NULL);
    compare_images(&t, 4, 1e-6);
    augment_test_close(&t);
}

static void each_change_equals_the_reference_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct augment_test t;
        struct augment one = {.enable = true};
        double *strength[6] = {&one.flip,     &one.rotate,     &one.brightness,
                               &one.contrast, &one.saturation, &one.hue};
        *strength[i] = i == 1 ? 45 : 0.5;
        augment_test_open(&t, 3, 20, &one);
        compare_images(&t, 4, EXACT);
        augment_test_close(&t);
    }
}

static void resident_images_are_found_by_index(void **state)
{
    (void)state;
    struct augment_test t;
    augment_test_open(&t, 3, 20, &strong);
    t.a.staged = NULL;
    t.a.resident = t.pixels;
    for (int i = 0; i < 3; i++)
        t.items[3 + i].index = 2 - i;
    compare_images(&t, 4, EXACT);
    augment_test_close(&t);
}

static void padding_items_are_zeros(void **state)
{
    (void)state;
    struct augment_test t;
    augment_test_open(&t, 2, 20, &strong);
    t.items[3].index = -1;
    t.a.staged = NULL;
    t.a.resident = t.pixels;
    for (int layout = 0; layout < 2; layout++) {
        float *out =
            run(&t, KERNEL_BF16, (enum kernel_layout)layout, layout ? 16 : 8);
        for (size_t i = t.count / 2; i < t.count; i++)
            assert_true(out[i] == 0);
        free(out);
    }
    augment_test_close(&t);
}

/* ---- layouts ---- */

/* The value of channel `at` of cell (y, x), from the NHWC output. */
static float cell_value(const float *nhwc, int32_t size, int32_t y, int32_t x,
                        int32_t at)
{
    int32_t v = 2 * y + at / 6 - 3, u = 2 * x + at / 3 % 2 - 3;
    if (at >= 12 || v < 0 || u < 0 || v >= size || u >= size)
        return 0;
    return nhwc[(v * size + u) * 4 + at % 3];
}

static void layouts_and_types_have_the_same_values(void **state)
{
    (void)state;
    struct augment_test t;
    augment_test_open(&t, 2, 20, &strong);
    float *nhwc = run(&t, KERNEL_F32, KERNEL_NHWC, 4);
    size_t n = t.count;
    for (int i = 0; i < N_TYPES; i++) {
        enum kernel_type type = all_types[i];
        float *expected = fill_nan(n * sizeof *expected);
        memcpy(expected, nhwc, n * sizeof *expected);
        round_to(type, expected, n);
        float *same = run(&t, type, KERNEL_NHWC, 4);
        assert_memory_equal(same, expected, n * sizeof *same);
        free(same);
        const float *image = expected;
        float *cells = run(&t, type, KERNEL_SPACE_TO_DEPTH, 16), *cell = cells;
        for (int32_t k = 0; k < 2 * 13 * 13; k++, cell += 16) {
            if (k == 13 * 13)
                image += 20 * 20 * 4;
            for (int32_t at = 0; at < 16; at++)
                assert_true(cell[at] ==
                            cell_value(image, 20, k / 13 % 13, k % 13, at));
        }
        free(cells);
        free(expected);
    }
    free(nhwc);
    augment_test_close(&t);
}

/* One output of the 4 x 4 convolution with the weights of kernels.h. */
static double convolve_cells(const float *cells, const double *weight,
                             int32_t y, int32_t x)
{
    double sum = 0;
    for (int32_t ky = 0; ky < 8; ky++) {
        for (int32_t kx = 0; kx < 8; kx++) {
            const float *cell = cells + ((y + ky / 2) * 13 + x + kx / 2) * 16;
            for (int32_t k = 0; k < 3 && ky < 7 && kx < 7; k++)
                sum += weight[(k * 7 + ky) * 7 + kx] *
                       (double)cell[3 * (2 * (ky % 2) + kx % 2) + k];
        }
    }
    return sum;
}

static void the_stem_convolution_works_on_cells(void **state)
{
    (void)state;
    struct augment_test t;
    augment_test_open(&t, 1, 20, NULL);
    float *cells = run(&t, KERNEL_F32, KERNEL_SPACE_TO_DEPTH, 16);
    float *random = random_floats(3 * 49, 1, 0, 1);
    double *weight = doubles_of(random, 3 * 49);
    double input[3 * 400], out[100];
    pixels_to_input(&t.items[1], t.pixels + image_bytes(&t), 20, mean, std,
                    input);
    const struct graph_node source = {
        .op = GRAPH_INPUT, .c = 3, .h = 20, .w = 20};
    const struct graph_node node = {.op = GRAPH_CONV,
                                    .c = 1,
                                    .h = 10,
                                    .w = 10,
                                    .kernel = 7,
                                    .stride = 2,
                                    .pad = 3};
    struct layer l = {.node = &node,
                      .source = &source,
                      .batch = 1,
                      .in = {input},
                      .out = out,
                      .weight = weight};
    layer_forward(&l);
    for (int32_t i = 0; i < 100; i++)
        assert_near(convolve_cells(cells, weight, i / 10, i % 10), out[i],
                    1e-4);
    free(cells);
    free(random);
    free(weight);
    augment_test_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_equal_the_reference),
        cmocka_unit_test(an_image_that_is_not_augmented_stays),
        cmocka_unit_test(each_change_equals_the_reference_alone),
        cmocka_unit_test(resident_images_are_found_by_index),
        cmocka_unit_test(padding_items_are_zeros),
        cmocka_unit_test(layouts_and_types_have_the_same_values),
        cmocka_unit_test(the_stem_convolution_works_on_cells),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
