/*
 * Overfitting a single batch: trains on the first global batch only, without
 * augmentation, dropout and schedule, from the run's initial weights. If the
 * loss does not fall, labels or settings are wrong. Outputs go to a scratch
 * folder (run/scratch_dir.h).
 */
#ifndef VOCDIST_TRAIN_OVERFIT_H
#define VOCDIST_TRAIN_OVERFIT_H

#include "base/text.h"
#include "comm/comm.h"
#include "config/config.h"

/* The check passes if box loss and class loss are both at most this fraction of
 * their values at the first step. */
#define OVERFIT_MAX_FRACTION 0.25

/*
 * Collective: trains up to `steps` steps (at least 1), until the check passes.
 * Changes options (augmentation, dropout, schedule, validation off) in `set`.
 * Appends the report to `report` on rank 0; the caller frees it. VD_NUMERIC,
 * agreed, if the check fails; VD_STOPPED, agreed, after a signal; else errors
 * as session_run().
 */
enum vd_err overfit_check(struct comm *comm, struct option_set *set,
                          struct config *config, char *const *argv,
                          int64_t steps, struct text *report) VD_MUST_USE;

#endif
