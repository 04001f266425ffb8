/*
 * How much memory there is, and what to say where it ends. Nothing here needs
 * the heap, so all of it works when there is none left. Local, thread-safe.
 */
#ifndef VOCDIST_BASE_MEMORY_H
#define VOCDIST_BASE_MEMORY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes; 0 where the system does not tell, or has no limit. */
struct memory {
    uint64_t resident, peak;      /* of this process, now and at most so far */
    uint64_t address_space;       /* which it has mapped, used or not */
    uint64_t address_space_limit; /* of those (ulimit -v) */
    uint64_t cgroup_limit; /* of its control group: the job, the container */
    uint64_t machine_total;
};

/* From `root`/proc and `root`/sys/fs/cgroup; root is "" but in tests. */
void memory_read(struct memory *out, const char *root);
/* The most this process has had so far (VmHWM); 0: unknown. */
int64_t memory_peak(void);
/* What all processes of this machine (or control group) may have together. */
uint64_t memory_shared_limit(const struct memory *m);

/*
 * What a user can change so that less memory is needed; the remedy in all
 * messages from here on. Copied; set by the main thread.
 */
#define MEMORY_OOM_HINT_MAX 512
void memory_set_oom_hint(const char *text);
/* Borrowed until the next memory_set_oom_hint(). */
const char *memory_oom_hint(void);

/* Raises VD_SYSTEM: `what` asked for `bytes` (0: not known) and did not get
 * them. */
enum vd_err memory_raise_oom(const char *what, size_t bytes) VD_MUST_USE;
/* The same for a thread; `cause` is what pthread_create() returned. */
enum vd_err memory_raise_no_thread(const char *what, int cause) VD_MUST_USE;
/* Ends the process with exit code 71: bookkeeping found no memory. */
_Noreturn void memory_exit_oom(size_t bytes);

/*
 * VD_SYSTEM unless so many bytes of addresses can be had right now. In front
 * of libraries that crash where they get none.
 */
enum vd_err memory_check_available(const char *what, size_t bytes) VD_MUST_USE;
/* Is there so little that a library's error may come from it? */
bool memory_is_low(void);
/* What the stacks of so many threads take. */
size_t memory_thread_stacks(int n);

#endif
