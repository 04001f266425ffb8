/* backend/reduction_tree: the order of additions does not depend on the ranks.
 */
#include "check.h"

#include "backend/reduction_tree.h"
#include "base/alloc.h"

#define MAX_R 24

/* Executes a plan on text: the sum "((0+1)+2)" shows the order of additions. */
static void run_plan(const struct reduction_plan *plan, char **inputs,
                     char **partials)
{
    char *buffers[MAX_R] = {0};
    for (int i = 0; i < plan->n_inputs; i++) {
        int b = plan->buffer[i];
        free(buffers[b]);
        buffers[b] = xstrdup(inputs[i]);
        for (int k = plan->add_start[i]; k < plan->add_start[i + 1]; k++) {
            struct reduction_add a = plan->adds[k];
            char *sum = xasprintf("(%s+%s)", buffers[a.dst], buffers[a.src]);
            free(buffers[a.dst]);
            buffers[a.dst] = sum;
        }
    }
    for (int i = 0; i < plan->n_partials; i++)
        partials[i] = xstrdup(buffers[plan->partial_buffer[i]]);
    for (int b = 0; b < MAX_R; b++)
        free(buffers[b]);
}

/* The whole sum, from the plans of `size` ranks and the final plan. The caller
 * frees it. */
static char *sum_over_ranks(int size, int replicas)
{
    char *parts[MAX_R], *partials[MAX_R], *total[1];
    struct reduction_plan plan, final_plan;
    int n_partials[MAX_R], n = 0;
    reduction_plan_init_final(&final_plan, size, replicas, n_partials);
    for (int rank = 0; rank < size; rank++) {
        char *leaves[MAX_R];
        int first = reduction_first_replica(rank, size, replicas);
        int end = reduction_first_replica(rank + 1, size, replicas);
        for (int i = first; i < end; i++)
            leaves[i - first] = xasprintf("%d", i);
        reduction_plan_init_rank(&plan, rank, size, replicas);
        run_plan(&plan, leaves, partials);
        assert_int_equal(plan.n_partials, n_partials[rank]);
        for (int i = 0; i < plan.n_partials; i++)
            parts[n++] = partials[i];
        for (int i = first; i < end; i++)
            free(leaves[i - first]);
        reduction_plan_clear(&plan);
    }
    assert_int_equal(final_plan.n_inputs, n);
    assert_int_equal(final_plan.n_partials, 1);
    run_plan(&final_plan, parts, total);
    reduction_plan_clear(&final_plan);
    for (int i = 0; i < n; i++)
        free(parts[i]);
    return total[0];
}

static void order_is_the_documented_one(void **state)
{
    (void)state;
    const char *const expected[] = {
        NULL,
        "0",
        "(0+1)",
        "((0+1)+2)",
        "((0+1)+(2+3))",
        "(((0+1)+(2+3))+4)",
        "(((0+1)+(2+3))+(4+5))",
        "(((0+1)+(2+3))+((4+5)+6))",
        "(((0+1)+(2+3))+((4+5)+(6+7)))",
    };
    for (int r = 1; r <= 8; r++) {
        char *sum = sum_over_ranks(1, r);
        assert_string_equal(sum, expected[r]);
        free(sum);
    }
}

static void order_does_not_depend_on_the_ranks(void **state)
{
    (void)state;
    for (int r = 1; r <= MAX_R; r++) {
        char *alone = sum_over_ranks(1, r);
        for (int size = 2; size <= r; size++) {
            char *shared = sum_over_ranks(size, r);
            assert_string_equal(shared, alone);
            free(shared);
        }
        free(alone);
    }
}

/* R = 8 on 3 ranks: 0+1 | 2+3, 4 | 5, 6+7. */
static void the_final_plan_has_the_partial_sums_of_all_ranks(void **state)
{
    (void)state;
    const int counts[] = {1, 2, 2}, buffers[] = {0, 1, 1, 2, 2};
    const struct reduction_add adds[] = {{0, 1}, {1, 2}, {1, 2}, {0, 1}};
    struct reduction_plan plan;
    int n_partials[3];
    reduction_plan_init_final(&plan, 3, 8, n_partials);
    assert_memory_equal(n_partials, counts, sizeof counts);
    assert_int_equal(plan.n_inputs, 5);
    assert_memory_equal(plan.buffer, buffers, sizeof buffers);
    assert_int_equal(plan.add_start[5], 4);
    assert_memory_equal(plan.adds, adds, sizeof adds);
    assert_int_equal(plan.partials[0].first_leaf, 0);
    assert_int_equal(plan.partials[0].n_leaves, 8);
    reduction_plan_clear(&plan);
}

static void a_rank_needs_few_buffers(void **state)
{
    (void)state;
    for (int r = 1; r <= 64; r++) {
        for (int size = 1; size <= r; size++) {
            for (int rank = 0; rank < size; rank++) {
                struct reduction_plan plan;
                reduction_plan_init_rank(&plan, rank, size, r);
                int log2 = 0;
                while (plan.n_inputs >> (log2 + 1))
                    log2++;
                int limit = log2 ? 2 * log2 : 1;
                assert_true(plan.n_partials <= limit);
                assert_true(plan.n_buffers <= limit + 1);
                reduction_plan_clear(&plan);
            }
        }
    }
}

static void blocks_cover_all_replicas_once(void **state)
{
    (void)state;
    for (int r = 1; r <= MAX_R; r++) {
        for (int size = 1; size <= r; size++) {
            assert_int_equal(reduction_first_replica(0, size, r), 0);
            assert_int_equal(reduction_first_replica(size, size, r), r);
            for (int rank = 0; rank < size; rank++)
                assert_true(reduction_first_replica(rank + 1, size, r) >
                            reduction_first_replica(rank, size, r));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_the_documented_one),
        cmocka_unit_test(order_does_not_depend_on_the_ranks),
        cmocka_unit_test(the_final_plan_has_the_partial_sums_of_all_ranks),
        cmocka_unit_test(a_rank_needs_few_buffers),
        cmocka_unit_test(blocks_cover_all_replicas_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
