/*
 * Memory limits and usage, and the out-of-memory messages. Nothing here uses
 * the heap, so it works in a process that is out of memory. Local, thread-safe.
 */
#ifndef VOCDIST_BASE_MEMORY_H
#define VOCDIST_BASE_MEMORY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In bytes; 0: unknown, or no limit. */
struct memory {
    uint64_t resident, peak;      /* resident set size, now and its maximum */
    uint64_t address_space;       /* mapped by this process, used or not */
    uint64_t address_space_limit; /* ulimit -v */
    uint64_t cgroup_limit;        /* of the control group: job, container */
    uint64_t machine_total;
};

/* Reads `root`/proc and `root`/sys/fs/cgroup; root is "" except in tests. */
void memory_read(struct memory *out, const char *root);
/* Peak resident set size of this process (VmHWM) in bytes; 0: unknown. */
int64_t memory_peak(void);
/* What all processes of the control group, or else of the machine, may use
 * together: the smaller of both limits. */
uint64_t memory_shared_limit(const struct memory *m);

/*
 * Sets the remedy of all later out-of-memory messages: what the user can change
 * to need less memory. Copied; call it from the main thread.
 */
#define MEMORY_OOM_HINT_MAX 512
void memory_set_oom_hint(const char *text);
/* Borrowed until the next memory_set_oom_hint(). */
const char *memory_oom_hint(void);

/* Raises VD_SYSTEM: allocating `bytes` (0: unknown) for `what` failed. */
enum vd_err memory_raise_oom(const char *what, size_t bytes) VD_MUST_USE;
/* Raises VD_SYSTEM: pthread_create() for `what` returned `cause`. */
enum vd_err memory_raise_no_thread(const char *what, int cause) VD_MUST_USE;
/* Ends the process with exit code 71: a small allocation of `bytes` failed. */
_Noreturn void memory_exit_oom(size_t bytes);

/*
 * VD_SYSTEM unless `bytes` of address space can be mapped now. Call it before
 * libraries that crash if an allocation fails.
 */
enum vd_err memory_check_available(const char *what, size_t bytes) VD_MUST_USE;
/* True if so little can be mapped (less than 16 MiB) that the error of
 * a library may have this cause. */
bool memory_is_low(void);
/* The bytes that the stacks of `n` threads map. */
size_t memory_thread_stacks(int n);

#endif
