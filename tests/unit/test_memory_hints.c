/* train/memory_hints: what is advised where memory ends can be done, and helps.
 */
#include "check.h"

#include "base/memory.h"
#include "train/setup.h"

static struct config config;
static struct comm comm = {.size = 1, .node_size = 1};

static struct trainer trainer(int64_t replicas, int64_t micro_batch)
{
    config.eval.batch = 1;
    comm.node_size = 1;
    return (struct trainer){
        .comm = &comm,
        .config = &config,
        .loader_threads = 1,
        .batch = {replicas, micro_batch, replicas * micro_batch}};
}

static void a_smaller_micro_batch_keeps_the_global_batch(void **state)
{
    (void)state;
    static const struct {
        int64_t replicas, micro_batch;
        const char *hints;
    } cases[] = {
        {2, 8, "give --train.micro_batch 4 --train.replicas 4 (now 8 and 2: "},
        {3, 15, "give --train.micro_batch 5 --train.replicas 9 (now 15 and 3"},
        /* as small as it can be, or of no equal parts */
        {4, 2, "give each rank more memory"},
        {1, 3, "give each rank more memory"},
        {1, 7, "give each rank more memory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer t = trainer(cases[i].replicas, cases[i].micro_batch);
        memory_hints_set(&t);
        if (strncmp(memory_oom_hint(), cases[i].hints,
                    strlen(cases[i].hints)) != 0)
            fail_msg("%s, not %s", memory_oom_hint(), cases[i].hints);
    }
}

static void only_reducible_settings_are_named(void **state)
{
    (void)state;
    struct trainer t = trainer(2, 8);
    t.has_val = true;
    t.loader_threads = 6;
    config.eval.batch = 32;
    comm.node_size = 4;
    memory_hints_set(&t);
    assert_string_equal(
        memory_oom_hint(),
        "give --train.micro_batch 4 --train.replicas 4 (now 8 and 2: the same "
        "global batch); --eval.batch 16 (now 32); --data.loader_threads 1 (now "
        "6); fewer ranks to this host (now 4); each rank more memory");
    /* Replicas of a run that goes on are what they are. */
    char resume[] = "runs/a/checkpoints/last";
    t.resume = resume;
    t.has_val = false;
    comm.node_size = 1;
    memory_hints_set(&t);
    assert_string_equal(memory_oom_hint(),
                        "give --data.loader_threads 1 (now 6); each rank more "
                        "memory");
}

static void a_node_with_too_little_memory_warns(void **state)
{
    (void)state;
    struct check_log log;
    struct trainer t = trainer(2, 8);
    assert_int_equal(comm_open(&comm, COMM_SETUP_TIMEOUT_S), VD_OK);
    snprintf(comm.hosts[0], COMM_HOST_MAX, "here");
    memory_hints_set(&t);
    check_log_start(&log);
    assert_int_equal(trainer_check_memory(&t), VD_OK);
    assert_string_equal(log.text, "");
    t.graph.n_params = (size_t)1 << 44; /* a checkpoint of 70 TB */
    assert_int_equal(trainer_check_memory(&t), VD_OK);
    check_log_end();
    assert_logged(&log, "the 1 ranks on here need 7036");
    assert_logged(&log, "the system may kill them");
    assert_logged(&log, "--train.micro_batch 4");
    comm_close(&comm, VD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_smaller_micro_batch_keeps_the_global_batch),
        cmocka_unit_test(only_reducible_settings_are_named),
        cmocka_unit_test(a_node_with_too_little_memory_warns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
