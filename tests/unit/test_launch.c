/*
 * comm/launch, comm/cores: wrong launches are detected from the environment
 * variables of the launchers; cores are divided over the ranks of a host.
 */
#include "check.h"

#include "comm/cores.h"
#include "comm/launch.h"

static const char *const launcher_variables[] = {"SLURM_STEP_NUM_TASKS",
                                                 "SLURM_NTASKS",
                                                 "SLURM_PROCID",
                                                 "OMPI_COMM_WORLD_SIZE",
                                                 "PMIX_RANK",
                                                 "PMI_RANK",
                                                 "PMI_FD",
                                                 "OMPI_COMM_WORLD_RANK"};

/* Simulates a start without a launcher. */
static int clear_environment(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof launcher_variables / sizeof(char *); k++)
        unsetenv(launcher_variables[k]);
    return 0;
}

static enum vd_err check(struct check_log *log, int size)
{
    check_log_start(log);
    enum vd_err err = launch_check_environment();
    if (err == VD_OK)
        err = launch_check_size(size);
    check_log_end();
    return err;
}

static void valid_launches_log_nothing(void **state)
{
    (void)state;
    struct check_log log;
    assert_int_equal(check(&log, 1), VD_OK);
    assert_string_equal(log.text, "");
    setenv("SLURM_STEP_NUM_TASKS", "8", 1); // srun --mpi=pmix
    setenv("SLURM_NTASKS", "8", 1);
    setenv("PMIX_RANK", "3", 1);
    assert_int_equal(check(&log, 8), VD_OK);
    assert_string_equal(log.text, "");
    setenv("SLURM_STEP_NUM_TASKS", "1", 1); // srun -n 1
    setenv("SLURM_NTASKS", "1", 1);
    assert_int_equal(check(&log, 1), VD_OK);
    assert_string_equal(log.text, "");
}

static void one_rank_by_mpirun_inside_slurm_passes(void **state)
{
    (void)state;
    struct check_log log;
    setenv("SLURM_NTASKS", "8", 1);
    setenv("SLURM_STEP_NUM_TASKS", "2", 1); // of the daemons of mpirun
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    assert_int_equal(check(&log, 1), VD_OK);
    assert_string_equal(log.text, "");
}

static void srun_without_mpi_is_rejected_once(void **state)
{
    (void)state;
    struct check_log log;
    setenv("SLURM_STEP_NUM_TASKS", "8", 1);
    setenv("SLURM_PROCID", "0", 1);
    assert_int_equal(check(&log, 1), VD_CONFIG);
    assert_logged(&log, "srun started 8 tasks");
    assert_logged(&log, "srun --mpi=pmix vocdist");
    setenv("SLURM_PROCID", "5", 1);
    assert_int_equal(check(&log, 1), VD_CONFIG);
    assert_string_equal(log.text, "");
}

static void single_rank_tasks_are_rejected_after_mpi_started(void **state)
{
    (void)state;
    struct check_log log;
    setenv("SLURM_STEP_NUM_TASKS", "8", 1);
    setenv("PMI_RANK", "0", 1); // this MPI library does not use it
    assert_int_equal(check(&log, 1), VD_CONFIG);
    assert_logged(&log, "srun started 8 tasks");
}

static void mpirun_of_another_mpi_or_a_serial_build_is_rejected(void **state)
{
    (void)state;
    struct check_log log;
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    assert_int_equal(check(&log, 1), VD_CONFIG);
    assert_logged(&log, "mpirun started 2 tasks");
    setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    assert_int_equal(check(&log, 1), VD_CONFIG);
    assert_string_equal(log.text, "");
}

static void an_unused_allocation_gives_a_warning(void **state)
{
    (void)state;
    struct check_log log;
    setenv("SLURM_NTASKS", "4", 1);
    assert_int_equal(check(&log, 1), VD_OK);
    assert_logged(&log, "one rank in a Slurm job of 4 tasks");
}

/* Cores [first, first + n). */
static struct cores range(int first, int n)
{
    struct cores c = {0};
    for (int k = first; k < first + n; k++)
        c.bits[k / 64] |= UINT64_C(1) << (k % 64);
    return c;
}

static void shared_cores_are_divided(void **state)
{
    (void)state;
    struct cores all[8];
    for (int r = 0; r < 8; r++)
        all[r] = range(60, 8); // in two words of the mask
    assert_int_equal(cores_fair_share(&all[0], all, 1), 8);
    assert_int_equal(cores_fair_share(&all[1], all, 2), 4);
    assert_int_equal(cores_fair_share(&all[2], all, 3), 2);
    assert_int_equal(cores_fair_share(&all[7], all, 8), 1);
    struct cores three[3] = {range(0, 3), range(0, 3), range(0, 3)};
    assert_int_equal(cores_fair_share(&three[0], three, 3), 1);
    struct cores two[3] = {range(0, 2), range(0, 2), range(0, 2)};
    assert_int_equal(cores_fair_share(&two[0], two, 3), 1); // at least 1
}

static void exclusive_and_shared_cores_add_up(void **state)
{
    (void)state;
    struct cores own[2] = {range(0, 1), range(1, 1)};
    assert_int_equal(cores_fair_share(&own[0], own, 2), 1);
    struct cores mixed[2] = {range(0, 6), range(4, 4)};
    assert_int_equal(cores_fair_share(&mixed[0], mixed, 2), 5); // 4 + 2 / 2
    assert_int_equal(cores_fair_share(&mixed[1], mixed, 2), 3); // 2 + 2 / 2
}

/* For any number n of ranks that share 2 n cores each rank gets exactly two
 * threads: the rounded sum of 2 n times 1 / n must not fall below 2. */
static void rounding_loses_no_thread(void **state)
{
    (void)state;
    static struct cores node[256];
    for (int n = 1; n <= 256; n++) {
        for (int r = 0; r < n; r++)
            node[r] = range(0, 2 * n);
        assert_int_equal(cores_fair_share(&node[0], node, n), 2);
    }
}

static void idle_cores_are_counted(void **state)
{
    (void)state;
    struct cores usable = range(0, 70), bound[2] = {range(0, 1), range(69, 1)};
    assert_int_equal(cores_count_idle(&usable, bound, 1), 69);
    assert_int_equal(cores_count_idle(&usable, bound, 2), 68);
    assert_int_equal(cores_count_idle(&usable, &usable, 1), 0);
    assert_int_equal(cores_count_idle(&usable, NULL, 0), 70);
}

int main(void)
{
#define LAUNCH_TEST(f) cmocka_unit_test_setup(f, clear_environment)
    const struct CMUnitTest tests[] = {
        LAUNCH_TEST(valid_launches_log_nothing),
        LAUNCH_TEST(one_rank_by_mpirun_inside_slurm_passes),
        LAUNCH_TEST(srun_without_mpi_is_rejected_once),
        LAUNCH_TEST(single_rank_tasks_are_rejected_after_mpi_started),
        LAUNCH_TEST(mpirun_of_another_mpi_or_a_serial_build_is_rejected),
        LAUNCH_TEST(an_unused_allocation_gives_a_warning),
        cmocka_unit_test(shared_cores_are_divided),
        cmocka_unit_test(exclusive_and_shared_cores_add_up),
        cmocka_unit_test(rounding_loses_no_thread),
        cmocka_unit_test(idle_cores_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
