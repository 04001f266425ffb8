/*
 * Limits on the use of CPUs other than the affinity mask: the CPU quota of the
 * control groups (docker --cpus, Kubernetes limits), and OMP_NUM_THREADS.
 * Local, thread-safe.
 */
#ifndef VOCDIST_BASE_CPUS_H
#define VOCDIST_BASE_CPUS_H

#include <stdint.h>

struct cpus_quota {
    double cpus;         /* quota / period; 0: no limit */
    uint64_t device, id; /* of the control group's folder (st_dev, st_ino):
                          * equal for processes that share the quota */
};

/* The smallest quota of the control groups of this process and their parents.
 * Reads root/proc and root/sys/fs/cgroup; root is "" except in tests. */
void cpus_read_quota(struct cpus_quota *out, const char *root);

/* The value of OMP_NUM_THREADS ("4", or the first number of "4,2"); 0 if it
 * is not set or not valid. */
int cpus_omp_num_threads(void);

#endif
