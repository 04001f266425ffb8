/*
 * Three parts: reading the limits, the messages, and a probe.
 *
 * The limits are text files of /proc and of the control groups. Each file is
 * read into a buffer on the stack, and a value is the number behind a key at
 * the start of a line. Of nested control groups the smallest limit applies.
 *
 * The probe maps and unmaps memory that is never touched, so it measures
 * address space (ulimit -v), not free pages.
 *
 * Invariant: no call here allocates from the heap.
 */
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

#define MAX_FILE 8192 /* the keys that are read are near the start */
#define NO_LIMIT ((uint64_t)1 << 60) /* version 1 writes its largest number */
#define STACK    ((size_t)8 << 20)   /* the usual default (ulimit -s) */
#define LOW_MEM  ((size_t)16 << 20)  /* more than a library allocates at once */

/* ---- reading ---- */

/* The number after `key` at the start of a line, times `unit`; else 0. */
static uint64_t number_after(const char *text, const char *key, uint64_t unit)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, n)) // strtoull("unlimited") is 0
            return strtoull(line + n, NULL, 10) * unit;
    }
    return 0;
}

/* A cgroup_visit_fn: keeps the smallest limit in `ctx`, in bytes; 0: none. */
static void min_memory_limit(void *ctx, const char *root, const char *folder,
                             int version)
{
    uint64_t *least = ctx;
    char file[CGROUP_MAX_PATH + 64], text[64];
    snprintf(file, sizeof file, "%s/%s", folder,
             version == 2 ? "memory.max" : "memory.limit_in_bytes");
    cgroup_read(text, sizeof text, root, file);
    uint64_t limit = number_after(text, "", 1); // "max" gives 0
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

/* Global, because any allocation of the process may fail. */
static char oom_hint[MEMORY_OOM_HINT_MAX] =
    "raise the limit (ulimit -v, or --mem of the batch system), or stop other "
    "programs";

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

/* "this process uses 512 MB and 1200 MB of address space; its limit ..." */
static struct phrase describe_memory(void)
{
    struct phrase p;
    struct memory m;
    memory_read(&m, "");
    int n = snprintf(p.text, sizeof p.text, "this process uses %.0f MB",
                     mb(m.resident));
    size_t at = (size_t)n;
    if (m.address_space_limit > 0)
        snprintf(p.text + at, sizeof p.text - at,
                 " and %.0f MB of address space; its limit (ulimit -v) is %.0f "
                 "MB",
                 mb(m.address_space), mb(m.address_space_limit));
    else
        snprintf(p.text + at, sizeof p.text - at,
                 "; the %s has %.0f MB in total",
                 memory_shared_limit(&m) < m.machine_total ? "control group"
                                                           : "machine",
                 mb(memory_shared_limit(&m)));
    return p;
}

enum vd_err memory_raise_oom(const char *what, size_t bytes)
{
    char size_text[48] = "";
    if (bytes > 0)
        snprintf(size_text, sizeof size_text, ", cannot allocate %.1f MB",
                 mb(bytes));
    return VD_FAIL(VD_SYSTEM, "%s: out of memory%s; %s\n%s", what, size_text,
                   describe_memory().text, oom_hint);
}

enum vd_err memory_raise_no_thread(const char *what, int cause)
{
    return VD_FAIL(VD_SYSTEM, "cannot start a thread for %s: %s; %s\n%s", what,
                   strerror(cause), describe_memory().text, oom_hint);
}

void memory_exit_oom(size_t bytes)
{
    log_emergency("out of memory, cannot allocate %zu bytes; %s\n  ---> %s",
                  bytes, describe_memory().text, oom_hint);
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
