/*
 * base/cpus, comm/cores: the number of threads by cores, by the CPU quota of
 * the control groups, and by OMP_NUM_THREADS.
 */
#include "check.h"

#include "base/alloc.h"
#include "base/cpus.h"
#include "comm/cores.h"

#include <sys/stat.h>

static char *root;

static int set_up(void **state)
{
    (void)state;
    root = check_folder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    check_folder_remove(root);
    return 0;
}

/* Writes a file of the simulated machine, below `root`. */
static void write_system_file(const char *path, const char *text)
{
    char *full = xasprintf("%s%s", root, path), *folder = file_dirname(full);
    assert_int_equal(file_make_folder(folder), VD_OK);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(folder);
    free(full);
}

static struct cpus_quota read_quota(void)
{
    struct cpus_quota q;
    memset(&q, 0xaa, sizeof q);
    cpus_read_quota(&q, root);
    return q;
}

static void unknown_means_no_quota(void **state)
{
    (void)state;
    assert_near(read_quota().cpus, 0, 0);
    write_system_file("/proc/self/cgroup", "nonsense\n::\n7:cpu\n0::/a\n");
    write_system_file("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    assert_near(read_quota().cpus, 0, 0);
    write_system_file("/sys/fs/cgroup/a/cpu.max", "nonsense\n");
    assert_near(read_quota().cpus, 0, 0);
}

static void the_smallest_cgroup_quota_applies(void **state)
{
    (void)state;
    write_system_file("/proc/self/cgroup", "0::/pod/box/leaf\n");
    write_system_file("/sys/fs/cgroup/pod/cpu.max", "400000 100000\n");
    write_system_file("/sys/fs/cgroup/pod/box/cpu.max", "250000 100000\n");
    write_system_file("/sys/fs/cgroup/pod/box/leaf/cpu.max", "max 100000\n");
    struct cpus_quota q = read_quota(), other;
    assert_near(q.cpus, 2.5, 1e-9);
    /* A process of the same group shares the quota, one of another does not. */
    write_system_file("/proc/self/cgroup", "0::/pod/box\n");
    other = read_quota();
    assert_true(other.id == q.id && other.device == q.device);
    write_system_file("/sys/fs/cgroup/pod/second/cpu.max", "250000 100000\n");
    write_system_file("/proc/self/cgroup", "0::/pod/second\n");
    other = read_quota();
    assert_near(other.cpus, 2.5, 1e-9);
    assert_true(other.id != q.id);
}

static void version_1_has_two_files(void **state)
{
    (void)state;
    write_system_file("/proc/self/cgroup",
                      "5:memory:/m\n4:cpuset:/job\n3:cpuacct,cpu:/job\n0::/\n");
    write_system_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    write_system_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    write_system_file("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n");
    write_system_file("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "50000\n");
    assert_near(read_quota().cpus, 3, 1e-9);
    write_system_file("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
    assert_near(read_quota().cpus, 0, 0);
}

/* The path is that of the host; the files of the group are at the mount. */
static void a_container_sees_its_cgroup_as_the_root(void **state)
{
    (void)state;
    write_system_file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n");
    write_system_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    write_system_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_near(read_quota().cpus, 0.5, 1e-9);
    write_system_file("/proc/self/cgroup", "0::/../../docker/abc\n");
    write_system_file("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    assert_near(read_quota().cpus, 1.5, 1e-9);
}

static void omp_num_threads_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n;
    } cases[] = {{"4", 4}, {"3,2", 3}, {"0", 0},  {"-1", 0},
                 {"x", 0}, {"", 0},    {"2x", 0}, {"99999999999", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("OMP_NUM_THREADS", cases[i].text, 1);
        assert_int_equal(cpus_omp_num_threads(), cases[i].n);
    }
    unsetenv("OMP_NUM_THREADS");
    assert_int_equal(cpus_omp_num_threads(), 0);
}

/* A rank that may use the first `cores` cores. */
static struct cores_info make_info(int cores, double cpus, uint64_t group,
                                   int openmp)
{
    struct cores_info r = {.quota = {cpus, 1, group},
                           .omp_num_threads = openmp};
    for (int k = 0; k < cores; k++)
        r.mask.bits[0] |= UINT64_C(1) << k;
    return r;
}

static void assert_limit(const struct cores_info *rows, int n, int threads,
                         int quota_ranks, bool limited_by_omp)
{
    struct cores_threads t = cores_limit(&rows[0], rows, n);
    assert_int_equal(t.n, threads);
    assert_int_equal(t.quota.cpus > 0 ? t.quota_ranks : 0, quota_ranks);
    assert_int_equal(t.limited_by_omp, limited_by_omp);
}

static void threads_are_limited_by_quota_and_openmp(void **state)
{
    (void)state;
    struct cores_info none = make_info(8, 0, 0, 0), one = make_info(8, 3, 5, 0);
    assert_limit(&none, 1, 8, 0, false);
    assert_limit(&one, 1, 3, 1, false);
    struct cores_info both[] = {make_info(8, 3, 5, 0), make_info(8, 3, 5, 0)};
    assert_limit(both, 2, 1, 2, false);
    struct cores_info apart[] = {make_info(8, 3, 5, 0), make_info(8, 3, 6, 0)};
    assert_limit(apart, 2, 3, 1, false);
    struct cores_info half = make_info(8, 0.5, 5, 0),
                      more = make_info(2, 3, 5, 0);
    assert_limit(&half, 1, 1, 1, false);
    assert_limit(&more, 1, 2, 0, false);
    struct cores_info few = make_info(8, 3, 5, 2), many = make_info(8, 3, 5, 9);
    assert_limit(&few, 1, 2, 0, true);
    assert_limit(&many, 1, 3, 1, false);
    /* 3.3 / 3 rounds down to 1. */
    struct cores_info thirds[] = {make_info(8, 3 * 1.1, 5, 0),
                                  make_info(8, 3 * 1.1, 5, 0),
                                  make_info(8, 3 * 1.1, 5, 0)};
    assert_limit(thirds, 3, 1, 3, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_means_no_quota),
        TEST(the_smallest_cgroup_quota_applies),
        TEST(version_1_has_two_files),
        TEST(a_container_sees_its_cgroup_as_the_root),
        TEST(omp_num_threads_is_read),
        TEST(threads_are_limited_by_quota_and_openmp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
