/*
 * Convolutions of cuDNN, planned for described devices: which operations have
 * plans, what cuDNN understood of them, and which engines are left out.
 */
#include "cudnn_fixture.h"

#include "base/rng.h"

#include <time.h>

static bool plan_all; /* argument "all": every device, batch and precision */

static const struct conv_spec layer = {.precision = BACKEND_BF16,
                                       .batch = 64,
                                       .h = 28,
                                       .w = 28,
                                       .c = 128,
                                       .out_c = 128,
                                       .kernel = 3,
                                       .stride = 1,
                                       .pad = 1};

static struct conv *make_conv(struct conv_device *d,
                              enum conv_direction direction,
                              enum backend_precision precision)
{
    struct conv_spec s = layer;
    struct conv *c = NULL;
    s.direction = direction;
    s.precision = precision;
    assert_int_equal(conv_new(d, &s, &c), VD_OK);
    return c;
}

/* ---- plans of the network ---- */

static void plan_operation(struct conv_device *d, const struct conv_spec *s)
{
    struct conv *c = NULL;
    struct conv_plan *p = NULL;
    char text[CONV_MAX_TEXT];
    conv_spec_text(s, text);
    if (conv_new(d, s, &c) != VD_OK ||
        conv_plan_new(c, NULL, WORKSPACE_LIMIT, &p) != VD_OK)
        fail_msg("%s: no plan for %s", conv_device_text(d), text);
    assert_true(conv_plan_workspace(p) <= WORKSPACE_LIMIT);
    fixture_check_description(p, s);
    conv_plan_free(p);
    conv_free(c);
}

static size_t plan_network(const char *device, int batch,
                           enum backend_precision precision)
{
    struct conv_device *d = fixture_device(device);
    size_t n;
    struct conv_spec *list = fixture_operations(batch, precision, &n);
    for (size_t i = 0; i < n; i++)
        plan_operation(d, &list[i]);
    free(list);
    conv_device_free(d);
    return n;
}

static void every_operation_has_a_plan_with_our_tensors(void **state)
{
    (void)state;
    static const int batches[] = {16, 64, 256};
    size_t n = 0;
    clock_t start = clock();
    for (int device = 0; device < 3; device++)
        for (int b = 0; b < 3; b++)
            for (int p = 0; p < BACKEND_PRECISIONS; p++)
                if (plan_all ||
                    (batches[b] == 64 && (device == 0 || p == BACKEND_BF16)))
                    n += plan_network(fixture_devices[device], batches[b],
                                      (enum backend_precision)p);
    assert_int_equal(n, plan_all ? 3 * 3 * 4 * 56 : 6 * 56);
    print_message("%zu plans in %.1f s of processor time\n", n,
                  (double)(clock() - start) / CLOCKS_PER_SEC);
}

/* Only their roles tell these arrays apart: x and w of the first, x and y of
 * the second have the same shape. */
static void arrays_of_equal_shape_keep_their_roles(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("h200");
    struct conv_spec square = layer, product = {.precision = BACKEND_BF16,
                                                .batch = 256,
                                                .h = 1,
                                                .w = 1,
                                                .c = 256,
                                                .out_c = 256,
                                                .kernel = 1,
                                                .stride = 1};
    for (int i = 0; i < CONV_DIRECTIONS; i++) {
        product.direction = square.direction = (enum conv_direction)i;
        plan_operation(d, &product);
        plan_operation(d, &square);
    }
    conv_device_free(d);
}

/* The smallest channel and image counts that the backend may use. */
static void small_networks_have_plans(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("h200");
    struct conv_spec s = {.batch = 1,
                          .h = 2,
                          .w = 2,
                          .c = 8,
                          .out_c = 8,
                          .kernel = 3,
                          .stride = 2,
                          .pad = 1};
    for (int p = 0; p < BACKEND_PRECISIONS; p++)
        for (int i = 0; i < CONV_DIRECTIONS; i++) {
            s.precision = (enum backend_precision)p;
            s.direction = (enum conv_direction)i;
            plan_operation(d, &s);
        }
    conv_device_free(d);
}

/* ---- candidates ---- */

static bool has_engine(const struct conv_candidates *list, int64_t id)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].engine.id == id)
            return true;
    return false;
}

static void find(struct conv *c, enum conv_search search, size_t limit,
                 struct conv_candidates *out)
{
    assert_int_equal(conv_find(c, search, limit, out), VD_OK);
}

static void all_engines_contain_those_of_the_heuristics(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("h200");
    for (int i = 0; i < CONV_DIRECTIONS; i++) {
        struct conv *c = make_conv(d, (enum conv_direction)i, BACKEND_BF16);
        struct conv_candidates some, all;
        find(c, CONV_SEARCH_HEURISTICS, SIZE_MAX, &some);
        find(c, CONV_SEARCH_ENGINES, SIZE_MAX, &all);
        assert_in_range(some.n, 10, 200);
        assert_true(all.n > some.n);
        for (size_t k = 0; k < some.n; k++)
            assert_true(has_engine(&all, some.at[k].engine.id));
        conv_candidates_clear(&some);
        conv_candidates_clear(&all);
        conv_free(c);
    }
    conv_device_free(d);
}

/* The first linear layer has 64 x 256 outputs, sums of 25088 products. */
static void long_sums_can_be_split(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("h200");
    struct conv_spec s = {.precision = BACKEND_BF16,
                          .batch = 64,
                          .h = 1,
                          .w = 1,
                          .c = 25088,
                          .out_c = 256,
                          .kernel = 1,
                          .stride = 1};
    struct conv *c = NULL;
    struct conv_candidates list;
    int n = 0;
    assert_int_equal(conv_new(d, &s, &c), VD_OK);
    find(c, CONV_SEARCH_ENGINES, 1 << 20, &list);
    for (size_t i = 0; i < list.n; i++) {
        const struct conv_engine *e = &list.at[i].engine;
        n += e->n_knobs == 1 && e->knob[0].value == 16;
    }
    assert_true(n > 0);
    conv_candidates_clear(&list);
    conv_free(c);
    conv_device_free(d);
}

static void a_plan_without_engine_uses_the_first_candidate(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("a100");
    struct conv *c = make_conv(d, CONV_FORWARD, BACKEND_FP16);
    struct conv_candidates list;
    struct conv_plan *p = NULL;
    find(c, CONV_SEARCH_HEURISTICS, WORKSPACE_LIMIT, &list);
    assert_int_equal(conv_plan_new(c, NULL, WORKSPACE_LIMIT, &p), VD_OK);
    assert_memory_equal(conv_plan_engine(p), &list.at[0].engine,
                        sizeof list.at[0].engine);
    assert_int_equal(conv_plan_workspace(p), list.at[0].workspace);
    conv_plan_free(p);
    conv_candidates_clear(&list);
    conv_free(c);
    conv_device_free(d);
}

static void candidates_stay_within_the_workspace(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("h200");
    struct conv *c = make_conv(d, CONV_BACKWARD_WEIGHTS, BACKEND_TF32);
    struct conv_candidates all, small;
    struct check_log log;
    struct conv_plan *p = NULL;
    size_t limit = 1 << 20, n_small = 0, large = SIZE_MAX;
    find(c, CONV_SEARCH_HEURISTICS, SIZE_MAX, &all);
    find(c, CONV_SEARCH_HEURISTICS, limit, &small);
    for (size_t i = 0; i < all.n; i++) {
        if (all.at[i].workspace <= limit)
            n_small++;
        else
            large = i;
    }
    assert_true(large < all.n && n_small > 0);
    assert_int_equal(small.n, n_small);
    assert_int_equal(small.n + small.n_too_large, all.n);
    check_log_start(&log);
    assert_int_equal(conv_plan_new(c, &all.at[large].engine, limit, &p),
                     VD_UNSUPPORTED);
    check_log_end();
    assert_logged(&log, "of workspace, the limit is 1.0 MiB");
    conv_candidates_clear(&all);
    conv_candidates_clear(&small);
    conv_free(c);
    conv_device_free(d);
}

static void expect_excluded(struct conv *c, int64_t id)
{
    struct check_log log;
    struct conv_plan *p = NULL;
    struct conv_engine e = {.id = id};
    check_log_start(&log);
    assert_int_equal(conv_plan_new(c, &e, SIZE_MAX, &p), VD_UNSUPPORTED);
    check_log_end();
    assert_logged(&log, "is excluded: it is not deterministic");
}

/* Engine 20 of weight gradients adds by atomics (cuDNN 9.19). */
static void check_deterministic(const char *device,
                                enum backend_precision precision)
{
    struct conv_device *d = fixture_device(device);
    struct conv *c = make_conv(d, CONV_BACKWARD_WEIGHTS, precision);
    struct conv_candidates list;
    find(c, CONV_SEARCH_ENGINES, SIZE_MAX, &list);
    assert_true(list.n > 0 && list.n_forbidden > 0);
    assert_false(has_engine(&list, 20));
    expect_excluded(c, 20);
    conv_candidates_clear(&list);
    conv_free(c);
    conv_device_free(d);
}

static void nondeterministic_engines_are_left_out(void **state)
{
    (void)state;
    for (int p = 0; p < BACKEND_PRECISIONS; p++)
        check_deterministic("h200", (enum backend_precision)p);
    check_deterministic("a100", BACKEND_BF16);
}

/* The matrix products of tensor cores round their inputs. */
static void fp32_uses_no_tensor_cores(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("h200");
    for (int i = 0; i < CONV_DIRECTIONS; i++) {
        struct conv *strict =
            make_conv(d, (enum conv_direction)i, BACKEND_FP32);
        struct conv *tf32 = make_conv(d, (enum conv_direction)i, BACKEND_TF32);
        struct conv_candidates list, fast;
        find(strict, CONV_SEARCH_ENGINES, SIZE_MAX, &list);
        find(tf32, CONV_SEARCH_ENGINES, SIZE_MAX, &fast);
        assert_true(list.n > 0 && fast.n > list.n);
        for (size_t k = 0; k < list.n; k++)
            assert_false(list.at[k].tensor_core);
        assert_true(fast.at[0].tensor_core);
        expect_excluded(strict, fast.at[0].engine.id);
        conv_candidates_clear(&list);
        conv_candidates_clear(&fast);
        conv_free(strict);
        conv_free(tf32);
    }
    conv_device_free(d);
}

/* ---- the stem ---- */

enum { SIZE = 16, OUT = 8, CHANNELS = 3, BLOCKS = SIZE / 2 + 3 };

static float random_value(uint64_t i)
{
    uint32_t w[4];
    rng_words(1, RNG_TEST, i, 0, w);
    return (float)(w[0] % 65536) / 65536 - 0.5f;
}

static float image[SIZE][SIZE][CHANNELS], w7[OUT][CHANNELS][7][7];

static double direct_stem(int k, int oy, int ox)
{
    double sum = 0;
    for (int ky = 0; ky < 7; ky++)
        for (int kx = 0; kx < 7; kx++) {
            int y = 2 * oy + ky - 3, x = 2 * ox + kx - 3;
            for (int c = 0; c < CHANNELS; c++)
                if (y >= 0 && y < SIZE && x >= 0 && x < SIZE)
                    sum += (double)image[y][x][c] * (double)w7[k][c][ky][kx];
        }
    return sum;
}

static double blocked_stem(const float *x, const float *w, int k, int oy,
                           int ox)
{
    double sum = 0;
    for (int ky = 0; ky < 4; ky++)
        for (int kx = 0; kx < 4; kx++)
            for (int c = 0; c < 16; c++) {
                int pixel = (oy + ky) * BLOCKS + ox + kx;
                int weight = (k * 4 + ky) * 4 + kx;
                sum += (double)x[pixel * 16 + c] * (double)w[weight * 16 + c];
            }
    return sum;
}

static void space_to_depth_computes_the_same_stem(void **state)
{
    (void)state;
    static float x[BLOCKS * BLOCKS * 16], blocked_w[OUT * 4 * 4 * 16];
    uint64_t n = 0;
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++)
            for (int c = 0; c < CHANNELS; c++) {
                size_t at = conv_stem_pixel(SIZE, i, j, c);
                assert_true(at < sizeof x / sizeof *x && x[at] == 0);
                x[at] = image[i][j][c] = random_value(n++);
            }
    for (int k = 0; k < OUT; k++)
        for (int c = 0; c < CHANNELS; c++)
            for (int ky = 0; ky < 7; ky++)
                for (int kx = 0; kx < 7; kx++) {
                    size_t at = conv_stem_weight(k, c, ky, kx);
                    assert_true(at < sizeof blocked_w / sizeof *blocked_w);
                    blocked_w[at] = w7[k][c][ky][kx] = random_value(n++);
                }
    for (int k = 0; k < OUT; k++)
        for (int oy = 0; oy < SIZE / 2; oy++)
            for (int ox = 0; ox < SIZE / 2; ox++)
                assert_near(blocked_stem(x, blocked_w, k, oy, ox),
                            direct_stem(k, oy, ox), 1e-12);
}

/* ---- devices ---- */

static void broken_descriptions_are_rejected(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "no json", "{}",
                                      "{\"deviceName\": \"x\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct conv_device *d = NULL;
        struct check_log log;
        check_log_start(&log);
        assert_int_equal(
            conv_device_describe("d.json", bad[i], strlen(bad[i]), &d),
            VD_DATA);
        check_log_end();
        assert_logged(&log, "d.json: cuDNN rejects this device description");
    }
}

static void a_missing_device_is_an_error(void **state)
{
    (void)state;
    struct conv_device *d = NULL;
    struct cudnnContext *handle = NULL;
    struct check_log log;
    check_log_start(&log);
    enum vd_err err = conv_device_open(1000, &d);
    enum vd_err handle_err = conv_handle_new(NULL, &handle);
    check_log_end();
    assert_int_equal(err, VD_DEVICE);
    assert_logged(&log, "cuDNN: device 1000: CUDNN_STATUS_");
    if (handle_err == VD_OK) /* this machine has a device */
        conv_handle_free(handle);
    else
        assert_logged(&log, "cuDNN: handle: CUDNN_STATUS_NOT_INITIALIZED");
}

static void the_device_is_named_with_what_plans_depend_on(void **state)
{
    (void)state;
    struct conv_device *d = fixture_device("a100");
    const char *expected =
        "NVIDIA A100-SXM4-80GB, sm_80, 108 multiprocessors, cuDNN 9.";
    assert_memory_equal(conv_device_text(d), expected, strlen(expected));
    conv_device_free(d);
}

int main(int argc, char **argv)
{
    plan_all = argc > 1 && strcmp(argv[1], "all") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_has_a_plan_with_our_tensors),
        cmocka_unit_test(arrays_of_equal_shape_keep_their_roles),
        cmocka_unit_test(small_networks_have_plans),
        cmocka_unit_test(all_engines_contain_those_of_the_heuristics),
        cmocka_unit_test(long_sums_can_be_split),
        cmocka_unit_test(a_plan_without_engine_uses_the_first_candidate),
        cmocka_unit_test(candidates_stay_within_the_workspace),
        cmocka_unit_test(nondeterministic_engines_are_left_out),
        cmocka_unit_test(fp32_uses_no_tensor_cores),
        cmocka_unit_test(space_to_depth_computes_the_same_stem),
        cmocka_unit_test(broken_descriptions_are_rejected),
        cmocka_unit_test(a_missing_device_is_an_error),
        cmocka_unit_test(the_device_is_named_with_what_plans_depend_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
