/*
 * Training: the session body that takes all steps of a run, validates and
 * saves at the ends of epochs, and stops early on request.
 */
#ifndef VOCDIST_TRAIN_TRAIN_LOOP_H
#define VOCDIST_TRAIN_TRAIN_LOOP_H

#include "train/session.h"

/*
 * Collective: the whole run, or what is left of it. VD_STOPPED when it stopped
 * early on request: everything up to there is saved. The verdict is
 * session_run()'s.
 */
enum vd_err train_run(struct comm *comm, struct option_set *options,
                      struct config *config, char *const *argv) VD_MUST_USE;

#endif
