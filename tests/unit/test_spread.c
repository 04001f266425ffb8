/* report/spread, and bench/table over ranks. */
#include "check.h"

#include "bench/table.h"

static void quartiles_lie_between_neighbours(void **state)
{
    (void)state;
    struct spread s;
    spread_of((double[]){5, 1, 4, 2, 3}, 5, &s);
    double five[] = {s.min, s.q1, s.median, s.q3, s.max};
    for (int i = 0; i < 5; i++)
        assert_near(five[i], i + 1, 0);
    spread_of((double[]){4, 1, 2, 3}, 4, &s);
    assert_near(s.q1, 1.75, 1e-15);
    assert_near(s.median, 2.5, 1e-15);
    assert_near(s.q3, 3.25, 1e-15);
    spread_of((double[]){7}, 1, &s);
    assert_near(s.min, 7, 0);
    assert_near(s.q3, 7, 0);
    assert_near(s.max, 7, 0);
}

/* Three ranks, three repeats of two columns; the second one is slowest in the
 * first column though the third has the largest single value. */
static void the_slowest_rank_has_the_largest_median(void **state)
{
    (void)state;
    static const double all[3][3][2] = {{{1, 9}, {2, 9}, {3, 9}},
                                        {{4, 8}, {6, 7}, {5, 6}},
                                        {{1, 5}, {90, 5}, {3, 5}}};
    struct table t;
    struct timing x;
    table_init(&t, 3, 2);
    t.n_ranks = 3;
    t.all = malloc(sizeof all);
    memcpy(t.all, all, sizeof all);
    assert_int_equal(table_slowest(&t, 0), 1);
    assert_int_equal(table_slowest(&t, 1), 0);
    table_timing(&t, 1, 1, &x);
    assert_near(x.s.median, 7, 0);
    assert_near(x.s.max, 8, 0);
    assert_near(x.least_rank, 5, 0);
    assert_near(x.most_rank, 9, 0);
    table_clear(&t);
}

static void rows_of_one_rank_come_back(void **state)
{
    (void)state;
    struct comm comm = {.size = 1};
    struct table t;
    struct timing x;
    table_init(&t, 2, 2);
    table_row(&t, 0)[1] = 3;
    table_row(&t, 1)[1] = 5;
    assert_int_equal(table_gather(&t, &comm), VD_OK);
    table_timing(&t, 1, 0, &x);
    assert_near(x.s.min, 3, 0);
    assert_near(x.s.median, 4, 0);
    assert_near(x.most_rank, 4, 0);
    table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quartiles_lie_between_neighbours),
        cmocka_unit_test(the_slowest_rank_has_the_largest_median),
        cmocka_unit_test(rows_of_one_rank_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
