/*
 * A dry run: every part of a run, in about a minute. Opens a session, trains up
 * to 21 steps on all ranks, evaluates part of the validation set, writes a
 * checkpoint, reads it back and compares it, exports weights, and reports the
 * time, disk and memory that the run will need. Outputs go to a scratch folder
 * (run/scratch_dir.h).
 */
#ifndef VOCDIST_TRAIN_DRY_RUN_H
#define VOCDIST_TRAIN_DRY_RUN_H

#include "base/text.h"
#include "comm/comm.h"
#include "config/config.h"

/*
 * Collective. Appends the report to `report` on rank 0 (the caller frees it);
 * other ranks leave it unchanged. It has one line per fact, "NAME   VALUE",
 * with units. Errors as session_run(); VD_STOPPED, agreed, after a signal. Too
 * little disk space for the run is a warning.
 */
enum vd_err dry_run(struct comm *comm, struct option_set *set,
                    struct config *config, char *const *argv,
                    struct text *report) VD_MUST_USE;

#endif
