/*
 * The end of an epoch: losses, validation, the row of metrics.csv, the best
 * value so far, early stopping.
 *
 * Weights are the best if their val_loss (train_loss without a validation set)
 * is finite and below all earlier ones on the same data. Epochs that are not
 * validated (eval.every) have no value and do not count for train.patience.
 */
#ifndef VOCDIST_TRAIN_EPOCH_H
#define VOCDIST_TRAIN_EPOCH_H

#include "train/session.h"

/* Collective, after the last step of an epoch. Sets `best` on rank 0 only:
 * whether this epoch's weights are the best so far. Updates s->state;
 * epochs_without_improvement is equal on all ranks. */
enum vd_err epoch_end(struct session *s, bool *best) VD_MUST_USE;
/* Collective, before the first step: validates the initial weights as epoch 0.
 * Does nothing in a resumed run or without a validation set. */
enum vd_err epoch_validate_initial(struct session *s) VD_MUST_USE;

#endif
