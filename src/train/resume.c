/*
 * Resuming: newest intact checkpoint, settings, state, values (see resume.h for
 * the order of calls).
 *
 * Rank 0 alone reads files, so a checkpoint is read once and all ranks start
 * from the same bytes. The state in a checkpoint has the position in three
 * forms (steps, epochs, images of the current epoch); a file in which they
 * disagree is rejected as damaged. A branch (option `resume` names a checkpoint
 * of another run) keeps weights, moments and position, but has new outputs and
 * no best value.
 */
#include "train/resume.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "model/init.h"
#include "model/weights.h"
#include "run/checkpoint_folder.h"

#include <stdlib.h>
#include <string.h>

/* ---- find ---- */

/* A path in `resume` applies to the first start of a run. Later starts (the
 * same command again, after a stop) resume from the run's own newest
 * checkpoint: an older one would mix two histories in one folder. */
static enum vd_err check_resume_path(const struct resume_state *r,
                                     const struct run_folder *folder,
                                     const char *path)
{
    char *given = realpath(path, NULL), *own = realpath(r->path, NULL);
    char *checkpoints = realpath(folder->own_checkpoints, NULL);
    enum vd_err err = VD_OK;
    size_t n = checkpoints ? strlen(checkpoints) : 0;
    bool is_newest = given && own && !strcmp(given, own);
    bool is_inside = given && checkpoints && !strncmp(given, checkpoints, n) &&
                     given[n] == '/';
    if (is_inside && !is_newest)
        err = VD_FAIL(VD_CREATE,
                      "%s: the run has continued to %s\n"
                      "start another run from it with --train.name NAME",
                      path, file_basename(r->path));
    else if (!is_newest)
        log_info("resuming from the run's own %s, not from %s", r->path, path);
    free(given);
    free(own);
    free(checkpoints);
    return err;
}

static enum vd_err find_checkpoint(struct resume_state *r,
                                   const struct run_folder *folder,
                                   const struct config *config)
{
    const char *resume = config->resume;
    bool is_path = strcmp(resume, "auto") && strcmp(resume, "none");
    VD_TRY(
        checkpoint_read_newest(&r->values, folder->own_checkpoints, &r->path));
    if (r->path && !strcmp(resume, "none"))
        return VD_FAIL(VD_CREATE,
                       "%s: has checkpoints, but resume is none\n"
                       "give --train.name another name, or --resume auto",
                       folder->own_folder);
    if (r->path && is_path)
        VD_TRY(check_resume_path(r, folder, resume));
    if (r->path) /* a killed process may have left the links unset */
        return folder->is_scratch ? VD_OK
                                  : checkpoint_link(&r->values, r->path);
    r->is_branch = is_path;
    r->path = is_path ? xstrdup(resume) : NULL;
    return is_path ? checkpoint_open(&r->values, resume, true) : VD_OK;
}

enum vd_err resume_find(struct resume_state *r, const struct run_folder *folder,
                        const struct config *config)
{
    VD_TRY(find_checkpoint(r, folder, config));
    if (r->path)
        r->saved_config = xstrdup(r->values.config);
    return VD_OK;
}

/* ---- settings ---- */

/* Collective: a string of rank 0, or NULL. */
static enum vd_err broadcast_text(struct comm *c, char **text)
{
    uint64_t n = c->rank == 0 && *text ? strlen(*text) + 1 : 0;
    VD_TRY(comm_bcast(c, SITE_RESUME, &n, sizeof n, 0));
    if (n == 0)
        return VD_OK;
    if (c->rank != 0)
        *text = xcalloc(n, 1);
    return comm_bcast(c, SITE_RESUME, *text, n, 0);
}

enum vd_err resume_broadcast(struct resume_state *r, struct comm *comm)
{
    VD_TRY(
        comm_bcast(comm, SITE_RESUME, &r->is_branch, sizeof r->is_branch, 0));
    VD_TRY(broadcast_text(comm, &r->saved_config));
    return broadcast_text(comm, &r->path);
}

enum vd_err resume_apply_settings(struct resume_state *r,
                                  struct option_set *options,
                                  const struct config *config)
{
    if (!r->saved_config)
        return VD_OK;
    bool is_given =
        options_is_set(options, "tune") && strcmp(config->tune, "auto");
    VD_TRY(config_resume(
        options, config->train.name, r->saved_config, strlen(r->saved_config),
        r->is_branch ? "start from the checkpoint's weights only: vocdist "
                       "export, then --model.weights"
                     : "start another run with --train.name NAME"));
    r->keeps_plan =
        strcmp(config->tune, "off") &&
        (!is_given || (!r->is_branch && !strcmp(config->tune, "on")));
    return VD_OK;
}

/* ---- state ---- */

static bool is_consistent(const struct resume_state *r,
                          const struct resume_run *run,
                          const struct train_state *s)
{
    uint64_t n = run->data->train.n_images, positions;
    uint64_t batch = (uint64_t)run->plan->batch.global_batch;
    return s->step == r->values.step &&
           !__builtin_mul_overflow(s->step, batch, &positions) &&
           s->epoch == positions / n &&
           (uint64_t)s->sums[0].n == positions % n && s->sums[1].n == 0;
}

static enum vd_err check_state(const struct resume_state *r,
                               const struct resume_run *run,
                               const struct train_state *s)
{
    uint64_t last_step = run->plan->last_step;
    if (s->data_digest != run->data->train.digest)
        return VD_FAIL(VD_CONFIG,
                       "%s was trained on other data than %s\n"
                       "give the same data, or start a run of another name",
                       r->path, run->config->data.train);
    if (!is_consistent(r, run, s))
        return VD_FAIL(VD_DATA,
                       "%s: step %llu and epoch %llu do not match: damaged or "
                       "edited\n"
                       "use an older checkpoint of the run",
                       r->path, (unsigned long long)s->step,
                       (unsigned long long)s->epoch);
    if (last_step < s->total)
        return VD_FAIL(VD_CONFIG,
                       "%s: %llu steps here, but %llu in the checkpoint: the "
                       "number of steps may only grow\n"
                       "give more --train.epochs%s",
                       run->config->train.name, (unsigned long long)last_step,
                       (unsigned long long)s->total,
                       r->is_branch ? "" : ", or start a run of another name");
    if (r->is_branch && s->step >= last_step)
        return VD_FAIL(VD_CONFIG,
                       "%s: has all its %llu steps: nothing is left to "
                       "train\ngive more --train.epochs",
                       r->path, (unsigned long long)last_step);
    return VD_OK;
}

/* Losses on different validation data cannot be compared. */
static void update_best_metric_data(struct train_state *s, uint64_t digest)
{
    if (s->has_best && s->best_metric_data != digest) {
        log_info("the validation data changed: the best value and the count of "
                 "train.patience are reset");
        s->has_best = false;
        s->epochs_without_improvement = 0;
    }
    s->best_metric_data = digest;
}

static enum vd_err load_checkpoint(struct resume_state *r,
                                   const struct resume_run *run,
                                   struct train_state *s)
{
    VD_TRY(train_state_parse(s, r->path, r->values.state));
    VD_TRY(check_state(r, run, s));
    VD_TRY(checkpoint_check_graph(&r->values, run->graph, r->path));
    VD_TRY(checkpoint_check_values(
        &r->values, run->graph, VD_DATA, r->path,
        "the network diverged: remove this file to resume from the checkpoint "
        "before it, or start a run of another name"));
    if (r->is_branch) {
        s->metrics_bytes = s->steps_bytes = 0;
        s->has_best = false;
        s->epochs_without_improvement = 0;
    }
    update_best_metric_data(s, train_data_val_digest(run->data));
    return VD_OK;
}

/* ---- values ---- */

static enum vd_err load_pretrained(struct resume_state *r,
                                   const struct resume_run *run)
{
    struct weights_report report = {0};
    struct checkpoint *v = &r->values;
    const char *path = run->config->model.weights;
    enum vd_err err =
        weights_load(run->graph, path, false, v->param, v->stats, &report);
    if (err == VD_OK)
        log_info("%s: %s", path, report.text);
    if (err == VD_OK && !report.head)
        init_head(run->graph, (uint64_t)run->config->train.seed, v->param,
                  v->stats);
    weights_report_clear(&report);
    return err;
}

enum vd_err resume_load(struct resume_state *r, const struct resume_run *run,
                        bool is_root, struct train_state *state)
{
    if (r->path && is_root)
        return load_checkpoint(r, run, state);
    VD_TRY(checkpoint_new(&r->values, run->graph));
    state->data_digest = run->data->train.digest;
    state->best_metric_data = train_data_val_digest(run->data);
    if (!is_root)
        return VD_OK;
    if (*run->config->model.weights)
        return load_pretrained(r, run);
    init_all(run->graph, (uint64_t)run->config->train.seed, r->values.param,
             r->values.stats);
    return VD_OK;
}

static enum vd_err broadcast_floats(struct comm *comm, float *values, size_t n)
{
    return comm_bcast(comm, SITE_WEIGHTS, values, n * sizeof *values, 0);
}

enum vd_err resume_send_values(struct resume_state *r, struct comm *comm,
                               struct train_state *state)
{
    struct checkpoint *v = &r->values;
    VD_TRY(broadcast_floats(comm, v->param, v->n_params));
    VD_TRY(broadcast_floats(comm, v->stats, v->n_stats));
    if (r->path) { /* else the moments are zeros */
        VD_TRY(broadcast_floats(comm, v->m, v->n_trainable));
        VD_TRY(broadcast_floats(comm, v->v, v->n_trainable));
    }
    return comm_bcast(comm, SITE_WEIGHTS, state, sizeof *state, 0);
}

void resume_clear(struct resume_state *r)
{
    checkpoint_clear(&r->values);
    free(r->path);
    free(r->saved_config);
    r->path = r->saved_config = NULL;
}
