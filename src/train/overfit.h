/*
 * Overfitting a single batch: trains on the first global batch only, without
 * augmentation, dropout and schedule, from the run's initial weights. A network
 * that can learn from these labels at this learning rate brings its loss down;
 * one that does not points to wrong labels or settings. Outputs go to a scratch
 * folder (train/session.h).
 */
#ifndef VOCDIST_TRAIN_OVERFIT_H
#define VOCDIST_TRAIN_OVERFIT_H

#include "base/text.h"
#include "comm/comm.h"
#include "config/config.h"

/* Passed when box loss and class loss are both at most this fraction of their
 * start. */
#define OVERFIT_MAX_FRACTION 0.25

/*
 * Collective: at most `steps` steps, fewer when it passes before. `report`, on
 * rank 0 only, is for people. VD_NUMERIC, agreed, when the loss did not fall
 * that far.
 */
enum vd_err overfit_check(struct comm *comm, struct option_set *set,
                          struct config *config, char *const *argv,
                          int64_t steps, struct text *report) VD_MUST_USE;

#endif
