/*
 * The tuning plan of a run: which algorithms its training net uses
 * (backend_ops.tune). Option `tune`:
 *
 *     off    no plan
 *     on     rank 0 measures one at the first start of the run
 *     FILE   rank 0 reads one
 *     auto   on if the backend has BACKEND_TUNES, else off
 *
 * All ranks use the plan of rank 0. The bits of a run depend on it, so it is
 * kept as DIR/NAME/plan.json, its digest is in every checkpoint, and the saved
 * settings have its path: config.yaml reproduces the run. A resumed run reads
 * its plan.json; any other plan is an error. A run that starts from a
 * checkpoint of another one takes the plan.json of that run (or measures, if
 * there is none), unless `tune` is given, as on or FILE.
 *
 * The calls of a start, in this order, on an engine with an open device; all
 * keep the plan in engine->tuning:
 *
 *     tuning_resolve    all ranks: auto becomes on or off
 *     tuning_choose     rank 0: measures or reads
 *     tuning_broadcast  from rank 0 to all ranks
 *     tuning_set_path   all ranks: `tune` becomes the path, to be saved
 *     tuning_save       rank 0: writes plan.json
 */
#ifndef VOCDIST_TRAIN_TUNING_H
#define VOCDIST_TRAIN_TUNING_H

#include "run/run_folder.h"
#include "run/train_state.h"
#include "train/engine.h"
#include "train/resume.h"

/* Local. VD_UNSUPPORTED for on or FILE if the backend cannot tune; a resumed
 * run that changed to such a backend continues without a plan and warns. */
enum vd_err tuning_resolve(const struct engine *e, const struct resume_state *r,
                           struct option_set *options) VD_MUST_USE;

/* Local, on rank 0. VD_NOINPUT for a missing file, VD_DATA for a plan.json that
 * is not that of the checkpoint, VD_CONFIG if FILE is not. */
enum vd_err tuning_choose(struct engine *e, const struct resume_state *r,
                          const struct run_folder *folder,
                          const struct train_plan *plan) VD_MUST_USE;

/* Collective. VD_CONFIG unless all ranks have the same plan afterwards. */
enum vd_err tuning_broadcast(struct engine *e) VD_MUST_USE;

/* Local, equal on all ranks. */
enum vd_err tuning_set_path(const struct engine *e,
                            struct option_set *options) VD_MUST_USE;

/* Local, on rank 0: plan.json in the folder for outputs, and the digest in the
 * state, which checkpoints save. */
enum vd_err tuning_save(const struct engine *e, const struct run_folder *folder,
                        struct train_state *state) VD_MUST_USE;

#endif
