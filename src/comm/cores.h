/*
 * The cores that this rank may use, and the resulting number of compute
 * threads. Launchers differ: mpirun binds every rank to one core or lets all
 * ranks use all cores; with srun some cores may be shared.
 */
#ifndef VOCDIST_COMM_CORES_H
#define VOCDIST_COMM_CORES_H

#include "base/cpus.h"
#include "comm/comm.h"

#include <stdbool.h>
#include <stdint.h>

#define CORES_WORDS 64 /* 64-bit words: up to 4096 cores of a host */

/* An affinity mask. */
struct cores {
    uint64_t bits[CORES_WORDS]; /* core k: bit k % 64 of word k / 64 */
};

/*
 * Local, pure: the number of threads of the rank with mask `mine`, one of the
 * `n` masks `node` of the node's ranks:
 *
 *     max(1, floor(sum over its cores of 1 / ranks that may use that core))
 */
int cores_fair_share(const struct cores *mine, const struct cores *node, int n);

/* The data that the ranks of a node exchange: one row per rank. */
struct cores_info {
    int node_root;
    struct cores mask;
    struct cpus_quota quota; /* CPU quota */
    int omp_num_threads;     /* OMP_NUM_THREADS, 0: not set */
};

/* The number of threads of a rank, and what limits it below the fair share. */
struct cores_threads {
    int n;
    int share;               /* cores_fair_share(), without other limits */
    struct cpus_quota quota; /* that limits `n`; cpus 0: it does not */
    int quota_ranks;         /* ranks of this node that share the quota */
    bool limited_by_omp;     /* OMP_NUM_THREADS limits `n` */
};

/*
 * Local, pure: cores_fair_share() for rank `mine` of the node's `n` rows,
 * limited by OMP_NUM_THREADS and by the quota of its control group divided by
 * the ranks that share it; at least 1.
 */
struct cores_threads cores_limit(const struct cores_info *mine,
                                 const struct cores_info *node, int n);

/* Local, pure: the number of cores of `usable` in none of the `n` masks. */
int cores_count_idle(const struct cores *usable, const struct cores *node,
                     int n);

/* Local: the affinity mask of the calling thread; the largest mask that this
 * process could set. VD_SYSTEM. */
enum vd_err cores_read_affinity(struct cores *out) VD_MUST_USE;
enum vd_err cores_read_usable(struct cores *out) VD_MUST_USE;

/*
 * Collective: sets `threads` of this rank by cores_limit() over the ranks of
 * its node. If some cores are assigned to no rank, rank 0 warns once.
 */
enum vd_err cores_assign_threads(struct comm *c, int *threads) VD_MUST_USE;
/* Collective: the same, with the reason. */
enum vd_err cores_explain_threads(struct comm *c,
                                  struct cores_threads *threads) VD_MUST_USE;

#endif
