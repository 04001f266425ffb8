/*
 * Which cores this rank may use, and how many compute threads that makes.
 * Launchers differ: mpirun gives every rank its own core or all ranks every
 * core, srun something in between.
 */
#ifndef VOCDIST_COMM_CORES_H
#define VOCDIST_COMM_CORES_H

#include "comm/comm.h"

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
int cores_share(const struct cores *mine, const struct cores *node, int n);

/* Local, pure: cores of `usable` that none of the `n` masks holds. */
int cores_idle(const struct cores *usable, const struct cores *node, int n);

/* Local: the calling thread's mask; all that this process could ask for. */
enum vd_err cores_mine(struct cores *out) VD_MUST_USE;
enum vd_err cores_usable(struct cores *out) VD_MUST_USE;

/*
 * Collective: `threads` for this rank, by cores_share() over the ranks of its
 * node. Where cores are left to no rank, rank 0 warns once, with the remedy.
 */
enum vd_err cores_divide(struct comm *c, int *threads) VD_MUST_USE;

#endif
