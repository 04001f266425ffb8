/*
 * A dry run: the whole path of a run in a minute. Opens everything, trains some
 * steps on all ranks, evaluates a part of the validation set, writes a
 * checkpoint, reads it back, compares it, exports weights; then reports what
 * the run will cost. Outputs go to a scratch folder (train/session.h).
 */
#ifndef VOCDIST_TRAIN_DRY_RUN_H
#define VOCDIST_TRAIN_DRY_RUN_H

#include "base/text.h"
#include "comm/comm.h"
#include "config/config.h"

/*
 * Collective. `report`, on rank 0 only, is for people: one line per fact,
 * "NAME   VALUE", seconds and bytes with their units. Verdict as
 * train_run()'s; a disk that is too small for the run is a warning.
 */
enum vd_err dry_run(struct comm *comm, struct option_set *set,
                    struct config *config, char *const *argv,
                    struct text *report) VD_MUST_USE;

#endif
