/* data/sampler: every epoch contains every image once, all orders are equally
 * likely, and steps and epochs are consistent. */
#include "check.h"

#include "data/sampler.h"

static void assert_permutation(const struct sampler *s, uint64_t epoch)
{
    uint8_t *seen = calloc(s->n, 1);
    for (uint64_t k = 0; k < s->n; k++) {
        uint64_t found_epoch = 0,
                 at = sampler_at(s, epoch * s->n + k, &found_epoch);
        assert_int_equal(found_epoch, epoch);
        assert_true(at < s->n);
        assert_int_equal(seen[at]++, 0);
    }
    free(seen);
}

static void every_epoch_contains_every_image_once(void **state)
{
    (void)state;
    const uint64_t large[] = {255, 256, 257, 1024, 4095, 16384, 16385, 70001};
    for (uint64_t n = 1; n <= 200; n++)
        for (uint64_t epoch = 0; epoch < 3; epoch++)
            assert_permutation(&(struct sampler){7, n, true}, epoch);
    for (size_t k = 0; k < sizeof large / sizeof *large; k++)
        assert_permutation(&(struct sampler){7, large[k], true}, k);
}

static uint64_t count_same_positions(uint64_t n, uint64_t seed_b,
                                     uint64_t epoch_b)
{
    const struct sampler a = {1, n, true}, b = {seed_b, n, true};
    uint64_t same = 0;
    for (uint64_t k = 0; k < n; k++)
        same +=
            sampler_at(&a, k, NULL) == sampler_at(&b, epoch_b * n + k, NULL);
    return same;
}

static void epochs_and_seeds_differ(void **state)
{
    (void)state;
    /* Two independent orders agree in one position on average (Poisson). */
    for (uint64_t n = 50; n <= 5000; n *= 10) {
        assert_int_equal(count_same_positions(n, 1, 0), n);
        assert_true(count_same_positions(n, 1, 1) < 10);
        assert_true(count_same_positions(n, 1, 1000) < 10);
        assert_true(count_same_positions(n, 2, 0) < 10);
        assert_true(count_same_positions(n, (uint64_t)1 << 40, 0) < 10);
    }
}

/* Chi square of k equally likely cells: mean k - 1, variance 2 (k - 1). */
static void assert_uniform(const uint32_t *count, size_t cells)
{
    double total = 0, chi = 0, free_cells = (double)cells - 1;
    for (size_t k = 0; k < cells; k++)
        total += count[k];
    double mean = total / (double)cells;
    for (size_t k = 0; k < cells; k++)
        chi += (count[k] - mean) * (count[k] - mean) / mean;
    assert_near(chi, free_cells, 5 * sqrt(2 * free_cells));
}

static void all_orders_of_few_images_are_equally_likely(void **state)
{
    (void)state;
    for (uint64_t n = 2; n <= 5; n++) {
        const struct sampler s = {3, n, true};
        uint32_t count[3125] = {0}, orders[120];
        size_t n_orders = 0, factorial = 1;
        for (uint64_t epoch = 0; epoch < 24000; epoch++) {
            uint64_t code = 0;
            for (uint64_t k = 0; k < n; k++)
                code = code * n + sampler_at(&s, epoch * n + k, NULL);
            count[code]++;
        }
        for (size_t k = 0; k < 3125; k++)
            if (count[k])
                orders[n_orders++] = count[k];
        for (uint64_t k = 2; k <= n; k++)
            factorial *= k;
        assert_int_equal(n_orders, factorial);
        assert_uniform(orders, n_orders);
    }
}

/* Over many epochs: the image at one position, and the distance between the
 * images at two neighboring positions. */
static void positions_and_neighbors_are_equally_likely(void **state)
{
    (void)state;
    const uint64_t sizes[] = {16, 64, 65, 100, 256, 300};
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
        const uint64_t n = sizes[z];
        const struct sampler s = {11, n, true};
        uint32_t at_position[300] = {0}, distance[300] = {0};
        for (uint64_t epoch = 0; epoch < 30000; epoch++) {
            uint64_t a = sampler_at(&s, epoch * n + 3, NULL);
            uint64_t b = sampler_at(&s, epoch * n + 4, NULL);
            at_position[a]++;
            distance[(b + n - a) % n]++;
        }
        assert_int_equal(distance[0], 0);
        assert_uniform(at_position, n);
        assert_uniform(distance + 1, n - 1);
    }
}

static void without_shuffling_the_order_is_data_order(void **state)
{
    (void)state;
    const struct sampler s = {1, 10, false};
    for (uint64_t k = 0; k < 35; k++) {
        uint64_t epoch = 99;
        assert_int_equal(sampler_at(&s, k, &epoch), k % 10);
        assert_int_equal(epoch, k / 10);
    }
}

/* 10 images, batch 4: step 2 takes the positions 8..11, of both epochs. */
static void a_step_may_span_two_epochs(void **state)
{
    (void)state;
    const struct sampler s = {1, 10, true};
    const uint64_t expected[] = {0, 0, 1, 1};
    for (uint64_t k = 0; k < 4; k++) {
        uint64_t epoch = 99;
        sampler_at(&s, 8 + k, &epoch);
        assert_int_equal(epoch, expected[k]);
    }
}

static void steps_and_epochs_are_consistent(void **state)
{
    (void)state;
    assert_int_equal(sampler_steps(10, 1, 4), 3);
    assert_int_equal(sampler_steps(10, 2, 4), 5);
    assert_int_equal(sampler_steps(8, 1, 4), 2);
    assert_int_equal(sampler_last_step(10, 0, 4), 2);
    assert_int_equal(sampler_last_step(10, 1, 4), 4);
    assert_int_equal(sampler_last_step(8, 0, 4), 1);
    for (uint64_t n = 4; n < 40; n++)
        for (uint64_t epochs = 1; epochs < 6; epochs++)
            for (uint64_t batch = 1; batch <= n; batch++) {
                uint64_t last = sampler_last_step(n, epochs - 1, batch);
                uint64_t end = epochs * n - 1; /* the last position */
                assert_int_equal(last, end / batch);
                assert_int_equal(sampler_steps(n, epochs, batch), last + 1);
            }
    assert_int_equal(sampler_steps(100000000, 1000000, 1), 100000000000000);
}

static void large_data_sets_are_sampled_everywhere(void **state)
{
    (void)state;
    const uint64_t n = SAMPLER_MAX_IMAGES - 5;
    const struct sampler s = {1, n, true};
    uint32_t quarter[4] = {0};
    for (uint64_t k = 0; k < 4000; k++)
        quarter[sampler_at(&s, k, NULL) * 4 / n]++;
    assert_uniform(quarter, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_epoch_contains_every_image_once),
        cmocka_unit_test(epochs_and_seeds_differ),
        cmocka_unit_test(all_orders_of_few_images_are_equally_likely),
        cmocka_unit_test(positions_and_neighbors_are_equally_likely),
        cmocka_unit_test(without_shuffling_the_order_is_data_order),
        cmocka_unit_test(a_step_may_span_two_epochs),
        cmocka_unit_test(steps_and_epochs_are_consistent),
        cmocka_unit_test(large_data_sets_are_sampled_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
