/*
 * How many processors' time this process may use, beside the cores it may run
 * on: the quota of its control groups (docker --cpus, Kubernetes limits), and
 * what OMP_NUM_THREADS says. Local, thread-safe.
 */
#ifndef VOCDIST_BASE_CPUS_H
#define VOCDIST_BASE_CPUS_H

#include <stdint.h>

struct cpus_quota {
    double cpus;         /* processors' time per time; 0: no limit */
    uint64_t device, id; /* of the group that has it: equal for processes that
                          * share the quota */
};

/* The least quota of the groups around this process. From root/proc and
 * root/sys/fs/cgroup; root is "" but in tests. */
void cpus_read_quota(struct cpus_quota *out, const char *root);

/* OMP_NUM_THREADS ("4", or "4,2": the outermost level); 0 where it is not set
 * or no such number. */
int cpus_omp_num_threads(void);

#endif
