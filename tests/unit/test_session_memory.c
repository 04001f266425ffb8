/* train/session_memory: warns of a node without enough memory for its ranks. */
#include "check.h"

#include "base/memory.h"
#include "train/session.h"

static struct comm comm = {.size = 1, .node_size = 1};

static void a_node_with_too_little_memory_warns(void **state)
{
    (void)state;
    struct check_log log;
    struct session s = {.comm = &comm};
    memory_set_oom_hint("give each rank more memory");
    assert_int_equal(comm_open(&comm, COMM_SETUP_TIMEOUT_S), VD_OK);
    snprintf(comm.hosts[0], COMM_HOST_MAX, "here");
    check_log_start(&log);
    assert_int_equal(session_check_memory(&s), VD_OK);
    assert_string_equal(log.text, "");
    s.engine.graph.n_params = (size_t)1 << 44; /* a checkpoint of 70 TB */
    assert_int_equal(session_check_memory(&s), VD_OK);
    check_log_end();
    assert_logged(&log, "the 1 ranks on here need 7036");
    assert_logged(&log, "the system may kill them");
    assert_logged(&log, "give each rank more memory");
    comm_close(&comm, VD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_with_too_little_memory_warns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
