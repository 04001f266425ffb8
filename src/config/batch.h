/*
 * How many images a step takes, and who takes them.
 *
 *     global batch = replicas x micro-batch
 *
 * A replica is one micro-batch with batch-norm statistics of its own. Of R
 * replicas, rank r of N hosts [rR/N, (r+1)R/N), one after the other, so the
 * result depends on R only (exchange/reduction_tree.h). Local and pure.
 */
#ifndef VOCDIST_CONFIG_BATCH_H
#define VOCDIST_CONFIG_BATCH_H

#include "base/err.h"
#include "config/config.h"

#include <stdint.h>

struct batch_plan {
    int64_t replicas, micro_batch, global_batch;
};

/*
 * For a checked config, `n_ranks` ranks and `n_images` training images.
 * VD_CONFIG, with what to give instead, where there are more ranks than
 * replicas, the global batch does not divide, is larger than the data, or
 * leaves fewer than 2 images to a replica (the head's batch norm). Warns of
 * micro-batches below 8 and of replicas that do not divide over the ranks.
 */
enum vd_err batch_resolve(const struct config *config, int64_t n_ranks,
                          int64_t n_images, struct batch_plan *out) VD_MUST_USE;

/* Best possible images/s as a share of n_ranks busy ranks: R / (N ceil(R/N)),
 * since all wait for the rank with the most replicas. */
double batch_max_efficiency(int64_t replicas, int64_t n_ranks);

#endif
