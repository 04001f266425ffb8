/*
 * Batch sizes: how many images one step trains on, and how they are divided
 * over replicas and ranks.
 *
 *     global batch = replicas x micro-batch
 *
 * A replica computes one micro-batch with its own batch-norm statistics. Of R
 * replicas, rank r of N ranks hosts [rR/N, (r+1)R/N) and computes them one
 * after the other, so the result depends on R only, not on N
 * (backend/reduction_tree.h). Local and pure.
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
 * Resolves the batch sizes of a config that passed config_check(), for
 * `n_ranks` ranks and `n_images` training images. VD_CONFIG, with valid values
 * in the remedy, if there are more ranks than replicas, or if the global batch
 * is not a multiple of the replicas, is larger than the data, or leaves fewer
 * than 2 images per replica (the head's batch norm needs 2). Warns about
 * micro-batches below 8 and about replicas that do not divide evenly over the
 * ranks.
 */
enum vd_err batch_resolve(const struct config *config, int64_t n_ranks,
                          int64_t n_images, struct batch_plan *out) VD_MUST_USE;

/* Upper bound of images/s, as a fraction of n_ranks fully busy ranks:
 * R / (N ceil(R/N)), because all ranks wait for the one with most replicas. */
double batch_max_efficiency(int64_t replicas, int64_t n_ranks);

#endif
