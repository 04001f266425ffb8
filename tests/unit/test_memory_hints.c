/* config/memory_hints: the hints of out-of-memory messages are valid settings
 * that reduce memory use. */
#include "check.h"

#include "base/memory.h"
#include "config/memory_hints.h"

static void a_smaller_micro_batch_keeps_the_global_batch(void **state)
{
    (void)state;
    static const struct {
        int64_t replicas, micro_batch;
        const char *hints;
    } cases[] = {
        {2, 8, "give --train.micro_batch 4 --train.replicas 4 (now 8 and 2: "},
        {3, 15, "give --train.micro_batch 5 --train.replicas 9 (now 15 and 3"},
        /* at their minimum, or without equal parts */
        {4, 2, "give each rank more memory"},
        {1, 3, "give each rank more memory"},
        {1, 7, "give each rank more memory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct memory_hints hints = {
            .batch = {.replicas = cases[i].replicas,
                      .micro_batch = cases[i].micro_batch},
            .eval_batch = 1,
            .loader_threads = 1,
            .node_ranks = 1};
        memory_hints_set(&hints);
        if (strncmp(memory_oom_hint(), cases[i].hints,
                    strlen(cases[i].hints)) != 0)
            fail_msg("%s, not %s", memory_oom_hint(), cases[i].hints);
    }
}

static void settings_at_their_minimum_are_skipped(void **state)
{
    (void)state;
    struct memory_hints hints = {.batch = {.replicas = 2, .micro_batch = 8},
                                 .eval_batch = 32,
                                 .loader_threads = 6,
                                 .node_ranks = 4};
    memory_hints_set(&hints);
    assert_string_equal(
        memory_oom_hint(),
        "give --train.micro_batch 4 --train.replicas 4 (now 8 and 2: the same "
        "global batch); --eval.batch 16 (now 32); --data.loader_threads 1 (now "
        "6); fewer ranks to this host (now 4); each rank more memory");
    /* A resumed run keeps its replicas: no batch is passed. */
    hints = (struct memory_hints){.loader_threads = 6, .node_ranks = 1};
    memory_hints_set(&hints);
    assert_string_equal(memory_oom_hint(),
                        "give --data.loader_threads 1 (now 6); each rank more "
                        "memory");
}

static void evaluation_names_its_threads(void **state)
{
    (void)state;
    struct memory_hints hints = {
        .eval_batch = 32, .compute_threads = 2, .node_ranks = 2};
    memory_hints_set(&hints);
    assert_string_equal(memory_oom_hint(),
                        "give --eval.batch 16 (now 32); --cpu.threads 1 (now "
                        "2); fewer ranks to this host (now 2); each rank more "
                        "memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_smaller_micro_batch_keeps_the_global_batch),
        cmocka_unit_test(settings_at_their_minimum_are_skipped),
        cmocka_unit_test(evaluation_names_its_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
