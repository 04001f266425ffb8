/*
 * base/memory: limits are read from the files of the system; out-of-memory
 * messages have the numbers and the remedy, and the exit code is 71.
 */
#include "check.h"

#include "base/alloc.h"
#include "base/memory.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GB ((uint64_t)1 << 30)

static char *root;

static int set_up(void **state)
{
    (void)state;
    char name[] = "/tmp/vocdist-memory-XXXXXX";
    root = xstrdup(mkdtemp(name));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char *command = xasprintf("rm -rf '%s'", root);
    int rc = system(command);
    free(command);
    free(root);
    return rc;
}

/* Writes a file of the simulated machine, below `root`. */
static void write_system_file(const char *path, const char *text)
{
    char *full = xasprintf("%s%s", root, path);
    for (char *slash = full + strlen(root) + 1;
         (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0777);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    free(full);
}

static struct memory read_all(void)
{
    struct memory m;
    memset(&m, 0xaa, sizeof m);
    memory_read(&m, root);
    return m;
}

static void unknown_means_no_limit(void **state)
{
    (void)state;
    struct memory m = read_all(), none = {0};
    assert_memory_equal(&m, &none, sizeof m);
    assert_int_equal(memory_shared_limit(&m), 0);
}

static void the_process_and_its_limit_are_read(void **state)
{
    (void)state;
    write_system_file("/proc/self/status",
                      "Name:\tx\nVmPeak:\t 9 kB\nVmSize:\t  4000 kB\n"
                      "VmHWM:\t  3000 kB\nVmRSS:\t    2000 kB\n");
    write_system_file(
        "/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit   Units\n"
        "Max cpu time              unlimited            unlimited    seconds\n"
        "Max address space         5000000              unlimited    bytes\n");
    write_system_file("/proc/meminfo",
                      "MemTotal:       8388608 kB\nMemFree: 1 kB\n");
    struct memory m = read_all();
    assert_int_equal(m.address_space, 4000 * 1024);
    assert_int_equal(m.peak, 3000 * 1024);
    assert_int_equal(m.resident, 2000 * 1024);
    assert_int_equal(m.address_space_limit, 5000000);
    assert_int_equal(m.machine_total, 8 * GB);
    assert_int_equal(memory_shared_limit(&m), 8 * GB);
    write_system_file(
        "/proc/self/limits",
        "Max address space         unlimited            unlimited    bytes\n");
    m = read_all();
    assert_int_equal(m.address_space_limit, 0);
}

static void the_smallest_cgroup_limit_applies(void **state)
{
    (void)state;
    write_system_file("/proc/meminfo", "MemTotal:       8388608 kB\n");
    write_system_file("/proc/self/cgroup", "0::/jobs/7/step\n");
    write_system_file("/sys/fs/cgroup/jobs/memory.max", "max\n");
    write_system_file("/sys/fs/cgroup/jobs/7/memory.max", "2147483648\n");
    write_system_file("/sys/fs/cgroup/jobs/7/step/memory.max", "3221225472\n");
    struct memory m = read_all();
    assert_int_equal(m.cgroup_limit, 2 * GB);
    assert_int_equal(memory_shared_limit(&m), 2 * GB);
    /* Version 1, in a container that sees its own group as the root. */
    write_system_file("/proc/self/cgroup",
                      "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n");
    write_system_file("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                      "1073741824\n");
    m = read_all();
    assert_int_equal(m.cgroup_limit, GB);
    /* Version 1 writes a large number for "no limit". */
    write_system_file("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                      "9223372036854771712\n");
    m = read_all();
    assert_int_equal(m.cgroup_limit, 0);
    assert_int_equal(memory_shared_limit(&m), 8 * GB);
    /* The limit of a group may be higher than the memory of the machine. */
    write_system_file("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                      "99999999999\n");
    m = read_all();
    assert_int_equal(memory_shared_limit(&m), 8 * GB);
}

static void this_process_is_found(void **state)
{
    (void)state;
    struct memory m;
    memory_read(&m, "");
    assert_true(m.resident > 100000 && m.resident <= m.peak);
    assert_true(m.address_space >= m.resident && m.machine_total > m.resident);
}

/* ---- out of memory ---- */

struct child_result {
    int status;
    char text[2048];
};

/* Calls `run` in a child process that may map `more` bytes of address space. */
static struct child_result run_limited(void (*run)(void), uint64_t more)
{
    struct child_result result = {0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct memory m;
        memory_read(&m, "");
        struct rlimit limit = {m.address_space + more, m.address_space + more};
        dup2(ends[1], STDERR_FILENO);
        log_set_sink(NULL, NULL);
        memory_set_oom_hint("give --some.option 3 (now 4)");
        if (setrlimit(RLIMIT_AS, &limit) == 0)
            run();
        _exit(0);
    }
    close(ends[1]);
    for (size_t n = 0;;) {
        ssize_t k = read(ends[0], result.text + n, sizeof result.text - 1 - n);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &result.status, 0), child);
    return result;
}

static void allocate_buffer(void)
{
    void *p;
    _exit(
        err_exit_code(alloc_aligned(&p, 100 << 20, 1, "the network's values")));
}

static void allocate_all(void)
{
    for (;;)
        if (!xcalloc(1, 1 << 16))
            _exit(1);
}

static void grow_buffer(void)
{
    char *p = NULL;
    for (size_t n = 1 << 16;; n += n)
        p = xreallocarray(p, n, 1);
}

static void check_available(void)
{
    if (memory_check_available("a library", 1 << 20) != VD_OK ||
        memory_is_low())
        _exit(1);
    void *taken =
        mmap(NULL, 50 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED || !memory_is_low())
        _exit(1);
    _exit(err_exit_code(memory_check_available("a library", (size_t)1 << 30)));
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1 /* its allocator ends the process itself */
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

static void every_oom_message_has_numbers_and_a_hint(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    static const struct {
        void (*run)(void);
        const char *expected;
    } cases[] = {{allocate_buffer,
                  "the network's values: out of memory, cannot allocate 10"},
                 {allocate_all, "out of memory, cannot allocate 65536 bytes"},
                 {grow_buffer, "out of memory, cannot allocate "},
                 {check_available,
                  "a library: out of memory, cannot allocate 1073.7 MB"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct child_result result = run_limited(cases[i].run, 64 << 20);
        const char *const parts[] = {cases[i].expected, "this process uses ",
                                     "its limit (ulimit -v) is ",
                                     "\n  ---> give --some.option 3 (now 4)\n"};
        if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 71)
            fail_msg("status %x: %s", result.status, result.text);
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            if (!strstr(result.text, parts[k]))
                fail_msg("no \"%s\" in: %s", parts[k], result.text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_means_no_limit),
        TEST(the_process_and_its_limit_are_read),
        TEST(the_smallest_cgroup_limit_applies),
        cmocka_unit_test(this_process_is_found),
        cmocka_unit_test(every_oom_message_has_numbers_and_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
