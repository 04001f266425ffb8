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
#define A_STACK  ((size_t)8 << 20)
#define SHORT    ((size_t)16 << 20) /* no library asks for as much at once */

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
static void take_least(void *ctx, const char *root, const char *folder,
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

static uint64_t read_group_limit(const char *root)
{
    uint64_t least = 0;
    cgroup_visit(root, "memory", take_least, &least);
    return least;
}

void memory_read(struct memory *out, const char *root)
{
    char text[MAX_FILE];
    cgroup_read(text, sizeof text, root, "/proc/self/status");
    out->resident = number_after(text, "VmRSS:", 1024);
    out->peak = number_after(text, "VmHWM:", 1024);
    out->addresses = number_after(text, "VmSize:", 1024);
    cgroup_read(text, sizeof text, root, "/proc/self/limits");
    out->address_limit = number_after(text, "Max address space", 1);
    cgroup_read(text, sizeof text, root, "/proc/meminfo");
    out->machine = number_after(text, "MemTotal:", 1024);
    out->group_limit = read_group_limit(root);
}

int64_t memory_peak(void)
{
    struct memory m;
    memory_read(&m, "");
    return (int64_t)m.peak;
}

uint64_t memory_shared_limit(const struct memory *m)
{
    bool group =
        m->group_limit > 0 && (m->machine == 0 || m->group_limit < m->machine);
    return group ? m->group_limit : m->machine;
}

/* ---- messages ---- */

/* As the log, one for the process: memory may end anywhere in it. */
static char the_advice[MEMORY_ADVICE_MAX] =
    "give it more (ulimit -v, the batch system's --mem), or end other programs";

void memory_advise(const char *text)
{
    snprintf(the_advice, sizeof the_advice, "%s", text);
}

const char *memory_advice(void)
{
    return the_advice;
}

static double mb(uint64_t bytes)
{
    return (double)bytes * 1e-6;
}

struct phrase {
    char text[256];
};

/* "this process has 512 MB, 1200 MB of addresses, of which ..." */
static struct phrase state_of_memory(void)
{
    struct phrase p;
    struct memory m;
    memory_read(&m, "");
    int n = snprintf(p.text, sizeof p.text, "this process has %.0f MB",
                     mb(m.resident));
    size_t at = (size_t)n;
    if (m.address_limit > 0)
        snprintf(p.text + at, sizeof p.text - at,
                 " and %.0f MB of addresses; its limit (ulimit -v) is %.0f MB",
                 mb(m.addresses), mb(m.address_limit));
    else
        snprintf(p.text + at, sizeof p.text - at, "; the %s has %.0f MB in all",
                 memory_shared_limit(&m) < m.machine ? "control group"
                                                     : "machine",
                 mb(memory_shared_limit(&m)));
    return p;
}

enum vd_err memory_refused(const char *what, size_t bytes)
{
    char asked[32] = "";
    if (bytes > 0)
        snprintf(asked, sizeof asked, " for %.1f MB", mb(bytes));
    return VD_FAIL(VD_SYSTEM, "%s: no memory%s; %s\n%s", what, asked,
                   state_of_memory().text, the_advice);
}

enum vd_err memory_no_thread(const char *what, int cause)
{
    return VD_FAIL(VD_SYSTEM, "no thread for %s: %s; %s\n%s", what,
                   strerror(cause), state_of_memory().text, the_advice);
}

void memory_end(size_t bytes)
{
    log_last_words("no memory for %zu bytes; %s\n  ---> %s", bytes,
                   state_of_memory().text, the_advice);
    _exit(err_exit_code(VD_SYSTEM));
}

/* ---- room ---- */

static bool has_room(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED && munmap(p, bytes) == 0;
}

enum vd_err memory_room(const char *what, size_t bytes)
{
    return has_room(bytes) ? VD_OK : memory_refused(what, bytes);
}

bool memory_is_short(void)
{
    return !has_room(SHORT);
}

size_t memory_of_threads(int n)
{
    struct rlimit stack;
    bool known =
        getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
    return (size_t)n * (known ? (size_t)stack.rlim_cur : A_STACK);
}
