/*
 * The end of an epoch: losses, validation, the row of metrics.csv, and whether
 * the weights are the best so far.
 *
 * Weights are the best if their val_loss (train_loss without a validation set)
 * is finite and below all earlier ones on the same data. Epochs that are not
 * validated (eval.every) have no value and do not count for train.patience.
 */
#ifndef VOCDIST_TRAIN_EPOCH_H
#define VOCDIST_TRAIN_EPOCH_H

#include "train/session.h"

/* Collective, after the last step of an epoch: `best` is set on rank 0. */
enum vd_err epoch_end(struct session *s, bool *best) VD_MUST_USE;
/* Collective: before step 1, where there is a validation set: epoch 0. */
enum vd_err epoch_validate_initial(struct session *s) VD_MUST_USE;

#endif
