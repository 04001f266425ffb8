/* Exchange buffers, the summary of the gradient, and conversions. */
#include "kernels/fixture.h"

#define N 70001 /* five chunks of the sum of squares, the last one partial */

static const struct kernel_queue all_blocks = {.max_blocks = 0};
static const struct kernel_queue two_blocks = {.max_blocks = 2};

static void add_and_divide_have_the_bits_of_the_reference(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 3, 1023, 1025, 5000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k], padded = n + 3;
        float *x = random_floats(padded, 1, 0, 1);
        float *y = random_floats(padded, 2, 0, 1);
        float *sum = random_floats(padded, 1, 0, 1);
        /* The range starts at any element. */
        assert_int_equal(kernel_add(two_blocks, sum + 1, y + 1, n), 0);
        for (size_t i = 0; i < padded; i++)
            assert_true(sum[i] == (i >= 1 && i <= n ? x[i] + y[i] : x[i]));
        assert_int_equal(kernel_divide(two_blocks, y + 1, n, 3), 0);
        float *was = random_floats(padded, 2, 0, 1);
        for (size_t i = 0; i < padded; i++)
            assert_true(y[i] == (i >= 1 && i <= n ? was[i] / 3 : was[i]));
        free(x);
        free(y);
        free(sum);
        free(was);
    }
}

/* A gradient with statistics and a flag, and memory for its summary. */
struct grad_fixture {
    struct kernel_grad g;
    float *grad, *stats, flag;
    struct kernel_grad_summary summary;
};

static void grad_fixture_open(struct grad_fixture *f, size_t n)
{
    f->grad = random_floats(n, 3, 0, 1e-3F);
    f->stats = random_floats(999, 4, 0, 1);
    f->flag = 0;
    memset(&f->summary, 0xff, sizeof f->summary);
    f->g = (struct kernel_grad){
        .grad = f->grad,
        .n = n,
        .stats = f->stats,
        .n_stats = 999,
        .flag = &f->flag,
        .partials = fill_nan(kernel_grad_partials(n) * sizeof(double)),
        .out = &f->summary};
}

static void grad_fixture_close(struct grad_fixture *f)
{
    free(f->grad);
    free(f->stats);
    free(f->g.partials);
}

static void the_sum_of_squares_is_exact_for_any_grid(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 255, 16384, 16385, N};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct grad_fixture f;
        grad_fixture_open(&f, sizes[k]);
        double squares = 0;
        for (size_t i = 0; i < f.g.n; i++)
            squares += (double)f.grad[i] * (double)f.grad[i];
        assert_int_equal(kernel_grad_summarize(all_blocks, &f.g), 0);
        struct kernel_grad_summary all = f.summary;
        assert_near(all.squares, squares, 1e-12 * squares);
        assert_int_equal(all.finite, 1);
        memset(f.g.partials, 0xff,
               kernel_grad_partials(f.g.n) * sizeof(double));
        assert_int_equal(kernel_grad_summarize(two_blocks, &f.g), 0);
        assert_true(all.squares == f.summary.squares);
        grad_fixture_close(&f);
    }
}

static void check_not_finite(struct grad_fixture *f, float *where, float value)
{
    float was = *where;
    *where = value;
    assert_int_equal(kernel_grad_summarize(all_blocks, &f->g), 0);
    assert_int_equal(f->summary.finite, 0);
    *where = was;
}

static void one_value_that_is_not_finite_is_found(void **state)
{
    (void)state;
    struct grad_fixture f;
    grad_fixture_open(&f, N);
    check_not_finite(&f, &f.grad[N - 1], NAN);
    check_not_finite(&f, &f.grad[0], INFINITY);
    check_not_finite(&f, &f.grad[20000], -INFINITY);
    check_not_finite(&f, &f.stats[998], NAN);
    check_not_finite(&f, &f.stats[0], INFINITY);
    check_not_finite(&f, &f.flag, 0.25F);
    check_not_finite(&f, &f.flag, NAN);
    f.grad[5] = 3e38F; /* its square is finite in double */
    assert_int_equal(kernel_grad_summarize(all_blocks, &f.g), 0);
    assert_int_equal(f.summary.finite, 1);
    grad_fixture_close(&f);
}

static void casts_round_and_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 2047, 4099};
    for (size_t k = 0; k < 2 * sizeof sizes / sizeof *sizes; k++) {
        enum kernel_type type = k % 2 ? KERNEL_BF16 : KERNEL_F16;
        size_t n = sizes[k / 2];
        float *x = random_floats(n, 5, 0, 1);
        x[0] = 1e30F; /* infinite in fp16 */
        void *expected = store_as(type, x, n);
        void *stored = fill_nan(2 * n);
        assert_int_equal(kernel_cast_from_f32(two_blocks, type, stored, x, n),
                         0);
        assert_memory_equal(stored, expected, 2 * n);
        float *back = fill_nan(n * sizeof *back);
        assert_int_equal(kernel_cast_to_f32(two_blocks, type, back, stored, n),
                         0);
        round_to(type, x, n);
        assert_memory_equal(back, x, n * sizeof *x);
        free(x);
        free(expected);
        free(stored);
        free(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_and_divide_have_the_bits_of_the_reference),
        cmocka_unit_test(the_sum_of_squares_is_exact_for_any_grid),
        cmocka_unit_test(one_value_that_is_not_finite_is_found),
        cmocka_unit_test(casts_round_and_come_back),
    };
    return RUN_IN_BOTH_ORDERS(tests);
}
