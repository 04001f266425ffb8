/* base/quantiles, and bench/timing_table over ranks. */
#include "check.h"

#include "bench/timing_table.h"

static void quartiles_are_interpolated(void **state)
{
    (void)state;
    struct quantiles q;
    quantiles_compute((double[]){5, 1, 4, 2, 3}, 5, &q);
    double five[] = {q.min, q.q1, q.median, q.q3, q.max};
    for (int i = 0; i < 5; i++)
        assert_near(five[i], i + 1, 0);
    quantiles_compute((double[]){4, 1, 2, 3}, 4, &q);
    assert_near(q.q1, 1.75, 1e-15);
    assert_near(q.median, 2.5, 1e-15);
    assert_near(q.q3, 3.25, 1e-15);
    quantiles_compute((double[]){7}, 1, &q);
    assert_near(q.min, 7, 0);
    assert_near(q.q3, 7, 0);
    assert_near(q.max, 7, 0);
}

/* Three ranks, three repeats of two columns; the second one is slowest in the
 * first column though the third has the largest single value. */
static void the_slowest_rank_has_the_largest_median(void **state)
{
    (void)state;
    static const double all[3][3][2] = {{{1, 9}, {2, 9}, {3, 9}},
                                        {{4, 8}, {6, 7}, {5, 6}},
                                        {{1, 5}, {90, 5}, {3, 5}}};
    struct timing_table t;
    struct timing x;
    timing_table_init(&t, 3, 2);
    t.n_ranks = 3;
    t.all = malloc(sizeof all);
    memcpy(t.all, all, sizeof all);
    assert_int_equal(timing_table_slowest(&t, 0), 1);
    assert_int_equal(timing_table_slowest(&t, 1), 0);
    timing_table_column(&t, 1, 1, &x);
    assert_near(x.seconds.median, 7, 0);
    assert_near(x.seconds.max, 8, 0);
    assert_near(x.least_rank, 5, 0);
    assert_near(x.most_rank, 9, 0);
    timing_table_clear(&t);
}

static void one_rank_gathers_its_own_rows(void **state)
{
    (void)state;
    struct comm comm = {.size = 1};
    struct timing_table t;
    struct timing x;
    timing_table_init(&t, 2, 2);
    timing_table_row(&t, 0)[1] = 3;
    timing_table_row(&t, 1)[1] = 5;
    assert_int_equal(timing_table_gather(&t, &comm), VD_OK);
    timing_table_column(&t, 1, 0, &x);
    assert_near(x.seconds.min, 3, 0);
    assert_near(x.seconds.median, 4, 0);
    assert_near(x.most_rank, 4, 0);
    timing_table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quartiles_are_interpolated),
        cmocka_unit_test(the_slowest_rank_has_the_largest_median),
        cmocka_unit_test(one_rank_gathers_its_own_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
