/*
 * Can this network learn at all, from these labels, at this learning rate? The
 * first global batch again and again, with augmentation and dropout off, from
 * the run's initial weights: its loss must fall. Nothing of it is left behind.
 */
#ifndef VOCDIST_TRAIN_OVERFIT_H
#define VOCDIST_TRAIN_OVERFIT_H

#include "base/text.h"
#include "comm/comm.h"
#include "config/config.h"

/* What must be left of the box loss and of the class loss, each. */
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
