/*
 * Where the plan comes from:
 *
 *     tune   first step   own checkpoint           another run's checkpoint
 *     on     measure      own plan.json            measure
 *     FILE   read         read; must be the same   read
 *     unset  as resolved  own plan.json            its plan.json, else measure
 *
 * The plan of a checkpoint is known by its digest in the training state, so a
 * plan.json that was exchanged or edited is found before any backend reads it.
 */
#include "train/tuning.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "store/atomic.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PLAN ((size_t)4 << 20) /* bytes of plan.json */

static uint64_t plan_digest(const struct engine *e)
{
    return hash_bytes(e->tuning_bytes ? e->tuning : "", e->tuning_bytes);
}

/* ---- the option ---- */

enum vd_err tuning_resolve(const struct engine *e, const struct resume_state *r,
                           struct option_set *options)
{
    const struct backend_ops *ops = e->backend.ops;
    const char *tune = e->config->tune;
    bool can_tune = ops->caps & BACKEND_TUNES;
    if (!strcmp(tune, "auto"))
        return train_plan_resolve(options, "tune", "%s",
                                  can_tune ? "on" : "off");
    if (can_tune || !strcmp(tune, "off"))
        return VD_OK;
    if (!r->keeps_plan)
        return VD_FAIL(VD_UNSUPPORTED,
                       "tune: backend %s has no autotuning\ngive --tune off",
                       ops->name);
    log_warn("backend %s has no autotuning: the run continues without its "
             "tuning plan",
             ops->name);
    return train_plan_resolve(options, "tune", "off");
}

enum vd_err tuning_set_path(const struct engine *e, struct option_set *options)
{
    const struct config *c = e->config;
    return e->tuning_bytes
               ? train_plan_resolve(options, "tune", "%s/%s/%s", c->train.dir,
                                    c->train.name, RUN_PLAN_NAME)
               : VD_OK;
}

/* ---- sources ---- */

static enum vd_err measure_plan(struct engine *e, const struct train_plan *plan)
{
    double begin = clock_now();
    VD_TRY(engine_tune(e, plan));
    VD_ASSERT(e->tuning_bytes > 0);
    comm_progress(e->comm);
    log_info("tuning    measured in %.1f s", clock_now() - begin);
    return VD_OK;
}

static enum vd_err read_plan(struct engine *e, const char *path)
{
    char *bytes = NULL;
    VD_TRY(file_read(path, MAX_PLAN, &bytes, &e->tuning_bytes));
    e->tuning = bytes;
    if (e->tuning_bytes == 0)
        return VD_FAIL(VD_DATA,
                       "%s: empty: not a tuning plan\n"
                       "give the plan.json of a run, or --tune on",
                       path);
    log_info("tuning    %s", path);
    return VD_OK;
}

#define NEW_PLAN                                                              \
    "to change the plan, start another run from the checkpoint: --resume %s " \
    "--train.name NAME --tune on"

/* *is_own: the plan is the one with which the checkpoint was trained. */
static enum vd_err compare_plan(const struct engine *e,
                                const struct resume_state *r, bool *is_own)
{
    struct train_state state;
    VD_TRY(train_state_parse(&state, r->path, r->values.state));
    *is_own = state.has_plan && state.plan_digest == plan_digest(e);
    return VD_OK;
}

/* The plan must be the checkpoint's own. */
static enum vd_err check_plan(const struct engine *e,
                              const struct resume_state *r, const char *path)
{
    bool is_own = false;
    VD_TRY(compare_plan(e, r, &is_own));
    if (is_own)
        return VD_OK;
    return r->keeps_plan
               ? VD_FAIL(VD_DATA,
                         "%s: changed: not the tuning plan of %s\n"
                         "restore the file, or give a copy of it with --tune "
                         "FILE; " NEW_PLAN,
                         path, r->path, r->path)
               : VD_FAIL(VD_CONFIG,
                         "%s: not the tuning plan of %s\n"
                         "omit --tune; " NEW_PLAN,
                         path, r->path, r->path);
}

/* The plan.json of the run of the checkpoint, which lies in RUN/checkpoints.
 * Owned. */
static char *checkpoint_plan_path(const struct resume_state *r,
                                  const struct run_folder *folder)
{
    if (!r->is_branch)
        return xasprintf("%s/%s", folder->own_folder, RUN_PLAN_NAME);
    char *file = realpath(r->values.file, NULL);
    char *checkpoints = file_dirname(file ? file : r->values.file);
    char *run = file_dirname(checkpoints);
    char *path = xasprintf("%s/%s", run, RUN_PLAN_NAME);
    free(file);
    free(checkpoints);
    free(run);
    return path;
}

static enum vd_err fail_missing(const struct resume_state *r, const char *path)
{
    return VD_FAIL(VD_NOINPUT,
                   "%s: missing: the run was trained with this tuning plan\n"
                   "give a copy of it with --tune FILE; " NEW_PLAN,
                   path, r->path);
}

/* Of the run itself: the plan must be there. */
static enum vd_err keep_own_plan(struct engine *e, const struct resume_state *r,
                                 const char *path)
{
    if (!file_exists(path))
        return fail_missing(r, path);
    VD_TRY(read_plan(e, path));
    return check_plan(e, r, path);
}

/* Of another run: the file beside the checkpoint may be missing, or of a third
 * run if the checkpoint was copied. */
static enum vd_err take_plan(struct engine *e, const struct resume_state *r,
                             const char *path, const struct train_plan *plan)
{
    bool exists = file_exists(path), is_own = false;
    if (exists) {
        VD_TRY(read_plan(e, path));
        VD_TRY(compare_plan(e, r, &is_own));
    }
    if (is_own)
        return VD_OK;
    log_warn("%s: %s: measuring another tuning plan than that of %s\n"
             "to use the same one, give it with --tune FILE",
             path, exists ? "another run's" : "missing", r->path);
    free(e->tuning);
    e->tuning = NULL;
    e->tuning_bytes = 0;
    return measure_plan(e, plan);
}

enum vd_err tuning_choose(struct engine *e, const struct resume_state *r,
                          const struct run_folder *folder,
                          const struct train_plan *plan)
{
    const char *tune = e->config->tune;
    if (!strcmp(tune, "off"))
        return VD_OK;
    if (r->keeps_plan) {
        char *path = checkpoint_plan_path(r, folder);
        enum vd_err err = r->is_branch ? take_plan(e, r, path, plan)
                                       : keep_own_plan(e, r, path);
        free(path);
        return err;
    }
    if (!strcmp(tune, "on"))
        return measure_plan(e, plan);
    VD_TRY(read_plan(e, tune));
    return r->path && !r->is_branch ? check_plan(e, r, tune) : VD_OK;
}

/* ---- all ranks ---- */

enum vd_err tuning_broadcast(struct engine *e)
{
    struct comm *c = e->comm;
    uint64_t n = e->tuning_bytes;
    VD_TRY(comm_bcast(c, SITE_PLAN, &n, sizeof n, 0));
    if (n > 0 && c->rank != 0) {
        e->tuning = xcalloc(n, 1);
        e->tuning_bytes = n;
    }
    if (n > 0)
        VD_TRY(comm_bcast(c, SITE_PLAN, e->tuning, n, 0));
    return comm_check_equal(c, SITE_PLAN, "the tuning plan", plan_digest(e));
}

/* ---- outputs ---- */

enum vd_err tuning_save(const struct engine *e, const struct run_folder *folder,
                        struct train_state *state)
{
    state->has_plan = e->tuning_bytes > 0;
    state->plan_digest = state->has_plan ? plan_digest(e) : 0;
    if (!state->has_plan)
        return VD_OK;
    char *path = run_folder_path(folder, RUN_PLAN_NAME);
    enum vd_err err = atomic_write(path, e->tuning, e->tuning_bytes);
    free(path);
    return err;
}
