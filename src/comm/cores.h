/*
 * Which cores this rank may use, and how many compute threads that makes.
 * Launchers differ: mpirun gives every rank its own core or all ranks every
 * core, srun something in between.
 */
#ifndef VOCDIST_COMM_CORES_H
#define VOCDIST_COMM_CORES_H

#include "base/cpus.h"
#include "comm/comm.h"

#include <stdbool.h>
#include <stdint.h>

#define CORES_WORDS 64 /* 4096 cores of one host */

struct cores {
    uint64_t bits[CORES_WORDS]; /* core k: bit k % 64 of word k / 64 */
};

/*
 * Local, pure: threads for the rank whose mask is `mine`, one of the `n`
 * masks of the node's ranks: max(1, floor(sum over its cores of 1 / number of
 * ranks that may use that core)).
 */
int cores_fair_share(const struct cores *mine, const struct cores *node, int n);

/* What a rank tells the others of its node. */
struct cores_info {
    int node_root;
    struct cores mask;
    struct cpus_quota quota; /* of processors' time */
    int omp_num_threads;     /* OMP_NUM_THREADS, 0: not set */
};

/* Threads of a rank, and what limited them below the share of the cores. */
struct cores_threads {
    int n;
    int share;               /* by the cores alone */
    struct cpus_quota quota; /* cpus 0: it is not what limits `n` */
    int quota_ranks;         /* ranks of this node under that quota */
    bool limited_by_omp;     /* OMP_NUM_THREADS limits `n` */
};

/*
 * Local, pure: cores_fair_share() for rank `mine` of the node's `n` rows, but
 * not more than OMP_NUM_THREADS, nor than the quota of its control group over
 * the ranks that share it; at least 1.
 */
struct cores_threads cores_limit(const struct cores_info *mine,
                                 const struct cores_info *node, int n);

/* Local, pure: cores of `usable` that none of the `n` masks holds. */
int cores_count_idle(const struct cores *usable, const struct cores *node,
                     int n);

/* Local: the calling thread's mask; all that this process could ask for. */
enum vd_err cores_read_affinity(struct cores *out) VD_MUST_USE;
enum vd_err cores_read_usable(struct cores *out) VD_MUST_USE;

/*
 * Collective: `threads` for this rank, by cores_limit() over the ranks of its
 * node. Where cores are left to no rank, rank 0 warns once, with the remedy.
 */
enum vd_err cores_assign_threads(struct comm *c, int *threads) VD_MUST_USE;
/* The same, with the reason. */
enum vd_err cores_explain_threads(struct comm *c,
                                  struct cores_threads *threads) VD_MUST_USE;

#endif
