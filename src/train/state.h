/*
 * What a run must remember beside its tensors, kept as JSON in the checkpoint:
 * losses of the epochs under way, lengths of the append files, the best so far.
 * Local.
 */
#ifndef VOCDIST_TRAIN_STATE_H
#define VOCDIST_TRAIN_STATE_H

#include "base/err.h"
#include "train/loss_meter.h"

#include <stdbool.h>
#include <stdint.h>

#define STATE_MACHINE 160

struct train_state {
    uint64_t step;            /* steps done */
    uint64_t epoch;           /* epochs ended */
    struct loss_sums sums[2]; /* of epoch `epoch` and the one after */
    double epoch_seconds;     /* spent training in the epoch under way */
    bool has_best;
    double best; /* lowest val_loss, or train_loss without validation */
    uint64_t best_metric_data; /* digest of the data that `best` is of; 0: the
                                  training's */
    uint64_t epochs_without_improvement; /* epochs with such a value since
                                            `best`; on all ranks */
    int64_t metrics_bytes, steps_bytes;
    uint64_t data_digest;        /* of the training data */
    uint64_t total;              /* steps the run was to have; may only grow */
    char machine[STATE_MACHINE]; /* what computed it; other bits elsewhere */
};

/* Owned. */
char *state_format(const struct train_state *s);
/* VD_DATA; `where` is the checkpoint's path. Older states have no
 * `epochs_without_improvement`: 0. */
enum vd_err state_parse(struct train_state *s, const char *where,
                        const char *text) VD_MUST_USE;

#endif
