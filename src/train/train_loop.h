/*
 * Training: the session body that computes all steps of a run, validates and
 * saves at the end of each epoch, and stops on signals, time limits and early
 * stopping.
 */
#ifndef VOCDIST_TRAIN_TRAIN_LOOP_H
#define VOCDIST_TRAIN_TRAIN_LOOP_H

#include "train/session.h"

/*
 * Collective: the whole run, or the rest of it. VD_STOPPED, agreed, if it
 * stopped before its end because of a signal, train.max_time or train.stop_at;
 * everything up to there is saved. Else the result of session_run().
 */
enum vd_err train_run(struct comm *comm, struct option_set *options,
                      struct config *config, char *const *argv) VD_MUST_USE;

#endif
