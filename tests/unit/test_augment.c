/* data/augment: distributions of the draws; box and pixel transforms agree. */
#include "check.h"

#include "data/augment.h"

#define SIZE 96

static const struct augment usual = {.enable = true,
                                     .flip = 0.5,
                                     .rotate = 10,
                                     .brightness = 0.1,
                                     .contrast = 0.2,
                                     .saturation = 0.3,
                                     .hue = 0.1};

static struct batch_item draw(const struct augment *a, uint64_t seed,
                              uint64_t position, const float box[4])
{
    struct batch_item item = {.position = position};
    augment_draw(a, seed, SIZE, box, &item);
    return item;
}

/* The inverse of item->warp: maps the point (u, v) of the stored image, in
 * coordinates with pixel centers at + 1/2, to the network's input. */
static void to_input(const struct batch_item *s, double u, double v,
                     double out[2])
{
    double a = (double)s->warp[0], b = (double)s->warp[1];
    double c = (double)s->warp[3], d = (double)s->warp[4];
    double det = a * d - b * c;
    u -= 0.5 + (double)s->warp[2];
    v -= 0.5 + (double)s->warp[5];
    out[0] = (d * u - b * v) / det + 0.5;
    out[1] = (-c * u + a * v) / det + 0.5;
}

static void the_box_bounds_the_warped_corners(void **state)
{
    (void)state;
    const float box[4] = {20.5f, 30, 60, 72.25f};
    int n_flipped = 0;
    for (uint64_t p = 0; p < 500; p++) {
        struct batch_item s = draw(&usual, 7, p, box);
        double low[2] = {SIZE, SIZE}, high[2] = {0, 0};
        for (int k = 0; k < 4; k++) {
            double at[2];
            to_input(&s, (double)box[k & 1 ? 2 : 0], (double)box[k & 2 ? 3 : 1],
                     at);
            for (int i = 0; i < 2; i++) {
                low[i] = fmin(low[i], at[i]);
                high[i] = fmax(high[i], at[i]);
            }
        }
        for (int i = 0; i < 2; i++) {
            assert_near((double)s.box[i], fmax(low[i], 0), 1e-3);
            assert_near((double)s.box[2 + i], fmin(high[i], SIZE), 1e-3);
        }
        n_flipped += s.warp[0] < 0;
    }
    assert_true(n_flipped > 200 && n_flipped < 300);
}

/* Flip, then counterclockwise rotation, computed as in the PyTorch script that
 * produced the reference results. */
static void the_box_equals_the_reference(void **state)
{
    (void)state;
    const float box[4] = {10, 20, 50, 90};
    for (uint64_t p = 0; p < 200; p++) {
        struct batch_item s = draw(&usual, 3, p, box);
        bool flip = s.warp[0] < 0;
        double sine = (double)s.warp[3];
        double a = asin(sine), m = SIZE / 2.0;
        double x[2] = {(double)box[0] - m, (double)box[2] - m};
        double y[2] = {(double)box[1] - m, (double)box[3] - m};
        double low[2] = {SIZE, SIZE}, high[2] = {0, 0};
        if (flip) {
            double left = x[0];
            x[0] = -x[1];
            x[1] = -left;
        }
        for (int k = 0; k < 4; k++) {
            double u = cos(a) * x[k & 1] + sin(a) * y[k >> 1] + m;
            double v = -sin(a) * x[k & 1] + cos(a) * y[k >> 1] + m;
            low[0] = fmin(low[0], u);
            low[1] = fmin(low[1], v);
            high[0] = fmax(high[0], u);
            high[1] = fmax(high[1], v);
        }
        assert_near((double)s.box[0], fmax(low[0], 0), 1e-3);
        assert_near((double)s.box[1], fmax(low[1], 0), 1e-3);
        assert_near((double)s.box[2], fmin(high[0], SIZE), 1e-3);
        assert_near((double)s.box[3], fmin(high[1], SIZE), 1e-3);
    }
}

static void without_augmentation_nothing_changes(void **state)
{
    (void)state;
    const float box[4] = {1, 2, 3, 4}, warp[6] = {1, 0, 0, 0, 1, 0};
    const struct augment off = {.flip = 1, .rotate = 45};
    for (int k = 0; k < 2; k++) {
        struct batch_item s = draw(k ? &off : NULL, 1, 5, box);
        assert_memory_equal(s.box, box, sizeof box);
        assert_memory_equal(s.warp, warp, sizeof warp);
        assert_true(s.color[0] == 1 && s.color[1] == 1 && s.color[2] == 1 &&
                    s.color[3] == 0);
    }
}

static void a_flip_alone_is_exact(void **state)
{
    (void)state;
    const struct augment flip = {.enable = true, .flip = 1};
    const float box[4] = {1, 2, 30.5f, 40}, mirrored[4] = {65.5f, 2, 95, 40};
    const float warp[6] = {-1, 0, SIZE - 1, 0, 1, 0};
    struct batch_item s = draw(&flip, 1, 5, box);
    assert_memory_equal(s.box, mirrored, sizeof mirrored);
    for (int i = 0; i < 6; i++)
        assert_near((double)s.warp[i], (double)warp[i], 0);
}

/* Equal seed and position give equal draws; another position or seed gives
 * other draws. */
static void draws_depend_on_seed_and_position_only(void **state)
{
    (void)state;
    const float box[4] = {10, 10, 20, 20};
    struct batch_item first = draw(&usual, 1, 9, box);
    struct batch_item other = {.position = 9, .index = 77, .class = 3};
    augment_draw(&usual, 1, SIZE, box, &other);
    assert_memory_equal(first.warp, other.warp, sizeof first.warp);
    assert_memory_equal(first.color, other.color, sizeof first.color);
    assert_memory_equal(first.order, other.order, sizeof first.order);
    other = draw(&usual, 1, 10, box);
    assert_memory_not_equal(first.color, other.color, sizeof first.color);
    other = draw(&usual, 2, 9, box);
    assert_memory_not_equal(first.color, other.color, sizeof first.color);
}

/* Range, mean and standard deviation of n uniform draws in low..high. */
static void assert_uniform(const double *x, int n, double low, double high)
{
    double mean = 0, square = 0, width = high - low;
    for (int i = 0; i < n; i++) {
        assert_true(x[i] >= low - 1e-6 && x[i] <= high + 1e-6);
        mean += x[i] / n;
    }
    for (int i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean) / n;
    assert_near(mean, (low + high) / 2, 5 * width / sqrt(12.0 * n));
    assert_near(sqrt(square), width / sqrt(12), 0.03 * width);
}

static void draws_have_the_stated_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 4800 };
    static double x[5][DRAWS];
    const float box[4] = {10, 10, 20, 20};
    int orders[256] = {0}, n_orders = 0;
    for (int p = 0; p < DRAWS; p++) {
        struct batch_item s = draw(&usual, 11, (uint64_t)p, box);
        for (int k = 0; k < 4; k++)
            x[k][p] = (double)s.color[k];
        x[4][p] = asin((double)s.warp[3]) * 57.29577951308232;
        orders[s.order[0] | s.order[1] << 2 | s.order[2] << 4 |
               s.order[3] << 6]++;
    }
    assert_uniform(x[0], DRAWS, 0.9, 1.1);
    assert_uniform(x[1], DRAWS, 0.8, 1.2);
    assert_uniform(x[2], DRAWS, 0.7, 1.3);
    assert_uniform(x[3], DRAWS, -0.1, 0.1);
    assert_uniform(x[4], DRAWS, -10, 10);
    for (int k = 0; k < 256; k++) { /* expected 200 each, std 14 */
        n_orders += orders[k] > 0;
        assert_true(orders[k] == 0 || (orders[k] > 130 && orders[k] < 270));
    }
    assert_int_equal(n_orders, 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_box_bounds_the_warped_corners),
        cmocka_unit_test(the_box_equals_the_reference),
        cmocka_unit_test(without_augmentation_nothing_changes),
        cmocka_unit_test(a_flip_alone_is_exact),
        cmocka_unit_test(draws_depend_on_seed_and_position_only),
        cmocka_unit_test(draws_have_the_stated_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
