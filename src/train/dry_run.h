/*
 * The whole path of a run in a minute: everything that the start opens, steps
 * on all ranks, some validation, a checkpoint there and back, the final
 * weights. Then what it costs. Nothing of it is left behind.
 */
#ifndef VOCDIST_TRAIN_DRY_RUN_H
#define VOCDIST_TRAIN_DRY_RUN_H

#include "base/text.h"
#include "comm/comm.h"
#include "config/config.h"

/*
 * Collective. `report`, on rank 0 only, is for people: one line per fact,
 * "NAME   VALUE", seconds and bytes with their units. Verdict as
 * trainer_run()'s; a disk that is too small for the run is a warning.
 */
enum vd_err dry_run(struct comm *comm, struct option_set *set,
                    struct config *config, char *const *argv,
                    struct text *report) VD_MUST_USE;

#endif
