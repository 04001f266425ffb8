#include "base/memory.h"

#include "base/cgroup.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_FILE 8192 /* of what is looked for in each, the start is enough */
#define NO_LIMIT ((uint64_t)1 << 60) /* as the kernel's largest page count */
#define STACK    ((size_t)8 << 20)
#define LOW_MEM  ((size_t)16 << 20) /* no library asks for as much at once */

/* ---- reading ---- */

/* The number behind `key`, which starts a line, times `unit`; else 0. */
static uint64_t number_after(const char *text, const char *key, uint64_t unit)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, n)) // "unlimited" is 0, too
            return strtoull(line + n, NULL, 10) * unit;
    }
    return 0;
}

/* The least of them, in bytes; 0: none so far. */
static void min_memory_limit(void *ctx, const char *root, const char *folder,
                             int version)
{
    uint64_t *least = ctx;
    char file[CGROUP_MAX_PATH + 64], text[64];
    snprintf(file, sizeof file, "%s/%s", folder,
             version == 2 ? "memory.max" : "memory.limit_in_bytes");
    cgroup_read(text, sizeof text, root, file);
    uint64_t limit = number_after(text, "", 1); // "max" is 0
    if (limit > 0 && limit < NO_LIMIT && (!*least || limit < *least))
        *least = limit;
}

static uint64_t read_cgroup_limit(const char *root)
{
    uint64_t least = 0;
    cgroup_visit(root, "memory", min_memory_limit, &least);
    return least;
}

void memory_read(struct memory *out, const char *root)
{
    char text[MAX_FILE];
    cgroup_read(text, sizeof text, root, "/proc/self/status");
    out->resident = number_after(text, "VmRSS:", 1024);
    out->peak = number_after(text, "VmHWM:", 1024);
    out->address_space = number_after(text, "VmSize:", 1024);
    cgroup_read(text, sizeof text, root, "/proc/self/limits");
    out->address_space_limit = number_after(text, "Max address space", 1);
    cgroup_read(text, sizeof text, root, "/proc/meminfo");
    out->machine_total = number_after(text, "MemTotal:", 1024);
    out->cgroup_limit = read_cgroup_limit(root);
}

int64_t memory_peak(void)
{
    struct memory m;
    memory_read(&m, "");
    return (int64_t)m.peak;
}

uint64_t memory_shared_limit(const struct memory *m)
{
    bool group = m->cgroup_limit > 0 &&
                 (m->machine_total == 0 || m->cgroup_limit < m->machine_total);
    return group ? m->cgroup_limit : m->machine_total;
}

/* ---- messages ---- */

/* As the log, one for the process: memory may end anywhere in it. */
static char oom_hint[MEMORY_OOM_HINT_MAX] =
    "give it more (ulimit -v, the batch system's --mem), or end other programs";

void memory_set_oom_hint(const char *text)
{
    snprintf(oom_hint, sizeof oom_hint, "%s", text);
}

const char *memory_oom_hint(void)
{
    return oom_hint;
}

static double mb(uint64_t bytes)
{
    return (double)bytes * 1e-6;
}

struct phrase {
    char text[256];
};

/* "this process has 512 MB, 1200 MB of addresses, of which ..." */
static struct phrase describe_memory(void)
{
    struct phrase p;
    struct memory m;
    memory_read(&m, "");
    int n = snprintf(p.text, sizeof p.text, "this process has %.0f MB",
                     mb(m.resident));
    size_t at = (size_t)n;
    if (m.address_space_limit > 0)
        snprintf(p.text + at, sizeof p.text - at,
                 " and %.0f MB of addresses; its limit (ulimit -v) is %.0f MB",
                 mb(m.address_space), mb(m.address_space_limit));
    else
        snprintf(p.text + at, sizeof p.text - at, "; the %s has %.0f MB in all",
                 memory_shared_limit(&m) < m.machine_total ? "control group"
                                                           : "machine",
                 mb(memory_shared_limit(&m)));
    return p;
}

enum vd_err memory_raise_oom(const char *what, size_t bytes)
{
    char asked[32] = "";
    if (bytes > 0)
        snprintf(asked, sizeof asked, " for %.1f MB", mb(bytes));
    return VD_FAIL(VD_SYSTEM, "%s: no memory%s; %s\n%s", what, asked,
                   describe_memory().text, oom_hint);
}

enum vd_err memory_raise_no_thread(const char *what, int cause)
{
    return VD_FAIL(VD_SYSTEM, "no thread for %s: %s; %s\n%s", what,
                   strerror(cause), describe_memory().text, oom_hint);
}

void memory_exit_oom(size_t bytes)
{
    log_emergency("no memory for %zu bytes; %s\n  ---> %s", bytes,
                  describe_memory().text, oom_hint);
    _exit(err_exit_code(VD_SYSTEM));
}

/* ---- available memory ---- */

static bool can_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED && munmap(p, bytes) == 0;
}

enum vd_err memory_check_available(const char *what, size_t bytes)
{
    return can_map(bytes) ? VD_OK : memory_raise_oom(what, bytes);
}

bool memory_is_low(void)
{
    return !can_map(LOW_MEM);
}

size_t memory_thread_stacks(int n)
{
    struct rlimit stack;
    bool known =
        getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
    return (size_t)n * (known ? (size_t)stack.rlim_cur : STACK);
}
