/*
 * What a run remembers beside its tensors, as JSON in the checkpoint: position,
 * losses of the epoch under way, lengths of the append-only files, the best
 * value so far. Local.
 */
#ifndef VOCDIST_RUN_TRAIN_STATE_H
#define VOCDIST_RUN_TRAIN_STATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Sums over images of one epoch: how many, L1 of the box (pixels), cross
 * entropy (nats), weighted loss. */
struct loss_sums {
    int64_t n;
    double l1, ce, loss;
};

#define TRAIN_STATE_MACHINE_MAX 160

struct train_state {
    uint64_t step;            /* steps done */
    uint64_t epoch;           /* epochs completed */
    struct loss_sums sums[2]; /* of epoch `epoch` and the one after */
    double epoch_seconds;     /* spent training in the epoch under way */
    bool has_best;
    double best; /* lowest val_loss, or train_loss without validation */
    /* digest of the validation data that `best` is of; 0: training data */
    uint64_t best_metric_data;
    /* validated epochs since `best`; equal on all ranks */
    uint64_t epochs_without_improvement;
    int64_t metrics_bytes, steps_bytes; /* lengths of the two files */
    uint64_t data_digest;               /* of the training data */
    uint64_t total; /* steps of the whole run; may only grow */
    /* device and instruction set; others give other bits */
    char machine[TRAIN_STATE_MACHINE_MAX];
};

/* Owned. */
char *train_state_format(const struct train_state *s);
/* VD_DATA; `where` is the checkpoint's path. A state without the key of
 * epochs_without_improvement (older versions) gives 0. */
enum vd_err train_state_parse(struct train_state *s, const char *where,
                              const char *text) VD_MUST_USE;

#endif
