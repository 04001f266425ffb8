#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "store/atomic.h"
#include "train/setup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* ---- where it goes on from ---- */

/* A path is for a run's first start. Later ones (the same command again, after
 * a stop) go on from the run's own checkpoints; asking for an older one of
 * those would mix two histories in one folder. */
static enum vd_err check_resume_path(const struct trainer *t, const char *path)
{
    char *wanted = realpath(path, NULL), *own = realpath(t->resume, NULL);
    char *folder = realpath(t->run.own_checkpoints, NULL);
    enum vd_err err = VD_OK;
    size_t n = folder ? strlen(folder) : 0;
    bool is_newest = wanted && own && !strcmp(wanted, own);
    bool is_inside =
        wanted && folder && !strncmp(wanted, folder, n) && wanted[n] == '/';
    if (is_inside && !is_newest)
        err = VD_FAIL(VD_CREATE,
                      "%s: the run has gone on to %s\n"
                      "start another run from there with --train.name NAME",
                      path, file_basename(t->resume));
    else if (!is_newest)
        log_info("going on from the run's own %s, not from %s", t->resume,
                 path);
    free(wanted);
    free(own);
    free(folder);
    return err;
}

static enum vd_err find_resume(struct trainer *t)
{
    const char *resume = t->config->resume;
    if (t->policy && t->policy->fresh)
        return VD_OK;
    bool is_path = strcmp(resume, "auto") && strcmp(resume, "none");
    VD_TRY(checkpoint_read_newest(&t->initial, t->run.own_checkpoints,
                                  &t->resume));
    if (t->resume && !strcmp(resume, "none"))
        return VD_FAIL(VD_CREATE,
                       "%s: has checkpoints, and resume is none\n"
                       "give --train.name another name, or --resume auto",
                       t->run.own_folder);
    if (t->resume && is_path)
        VD_TRY(check_resume_path(t, resume));
    if (t->resume) /* it may have died between the file and its links */
        return t->policy ? VD_OK : checkpoint_link(&t->initial, t->resume);
    t->is_branch = is_path;
    t->resume = is_path ? xstrdup(resume) : NULL;
    return is_path ? checkpoint_read(&t->initial, resume) : VD_OK;
}

enum vd_err setup_open_run(struct trainer *t)
{
    const char *dir = t->config->train.dir, *name = t->config->train.name;
    VD_TRY(t->policy ? run_open_scratch(&t->run, dir, name)
                     : run_open(&t->run, dir, name));
    char *log = run_path(&t->run, "log.txt");
    int fd = -1;
    enum vd_err err = file_open_output(log, O_WRONLY | O_APPEND, &fd);
    free(log);
    log_set_file(fd);
    if (err == VD_OK)
        err = find_resume(t);
    if (err == VD_OK && t->resume)
        t->saved_config = xstrdup(t->initial.config);
    return err;
}

/* A text that rank 0 has, or NULL, to all. */
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

enum vd_err setup_broadcast_saved(struct trainer *t)
{
    VD_TRY(comm_bcast(t->comm, SITE_RESUME, &t->is_branch, sizeof t->is_branch,
                      0));
    VD_TRY(broadcast_text(t->comm, &t->saved_config));
    return broadcast_text(t->comm, &t->resume);
}

enum vd_err setup_apply_saved(struct trainer *t)
{
    t->stop_at = (uint64_t)t->config->train.stop_at;
    VD_TRY(options_set(t->set, "train.stop_at", "0", "taken by this start"));
    VD_TRY(options_set(t->set, "resume", "auto", "taken by this start"));
    if (!t->saved_config)
        return VD_OK;
    return config_resume(
        t->set, t->config->train.name, t->saved_config, strlen(t->saved_config),
        t->is_branch ? "begin with the checkpoint's weights alone: vocdist "
                       "export, then --model.weights"
                     : "start another run with --train.name NAME");
}

/* ---- what the checkpoint says ---- */

/* Steps, epochs and images say the same in three ways. */
static bool is_consistent(const struct trainer *t)
{
    const struct train_state *s = &t->state;
    uint64_t n = t->train.n_images, positions;
    return s->step == t->initial.step &&
           !__builtin_mul_overflow(s->step, (uint64_t)t->batch.global_batch,
                                   &positions) &&
           s->epoch == positions / n &&
           (uint64_t)s->sums[0].n == positions % n && s->sums[1].n == 0;
}

static enum vd_err check_state(const struct trainer *t)
{
    if (t->state.data_digest != t->train.digest)
        return VD_FAIL(VD_CONFIG,
                       "%s was trained on other data than %s\n"
                       "give the same data, or start a run of another name",
                       t->resume, t->config->data.train);
    if (!is_consistent(t))
        return VD_FAIL(VD_DATA,
                       "%s: step %llu of epoch %llu: damaged or edited\n"
                       "use an older checkpoint of the run",
                       t->resume, (unsigned long long)t->state.step,
                       (unsigned long long)t->state.epoch);
    if (t->last_step < t->state.total)
        return VD_FAIL(VD_CONFIG,
                       "%s: %llu steps here, %llu in the run, which may only "
                       "grow\ngive more --train.epochs%s",
                       t->config->train.name, (unsigned long long)t->last_step,
                       (unsigned long long)t->state.total,
                       t->is_branch ? "" : ", or start a run of another name");
    if (t->is_branch && t->state.step >= t->last_step)
        return VD_FAIL(VD_CONFIG,
                       "%s: has all its %llu steps, so there is nothing to go "
                       "on with\ngive more --train.epochs",
                       t->resume, (unsigned long long)t->last_step);
    return VD_OK;
}

/* Losses on other data say nothing about the best so far. */
static void compare_best_metric_data(struct trainer *t)
{
    struct train_state *s = &t->state;
    uint64_t digest = t->has_val ? t->val.digest : 0;
    if (s->has_best && s->best_metric_data != digest) {
        log_info("judged by other data from here on: the best so far and "
                 "train.patience begin anew");
        s->has_best = false;
        s->epochs_without_improvement = 0;
    }
    s->best_metric_data = digest;
}

enum vd_err setup_restore_state(struct trainer *t)
{
    VD_TRY(state_parse(&t->state, t->resume, t->initial.state));
    VD_TRY(check_state(t));
    VD_TRY(checkpoint_check_graph(&t->initial, &t->graph, t->resume));
    VD_TRY(checkpoint_check_values(
        &t->initial, &t->graph, VD_DATA, t->resume,
        "the network diverged: remove this file to resume from the checkpoint "
        "before it, or start a run of another name"));
    if (t->is_branch) { /* run outputs of its own */
        t->state.metrics_bytes = t->state.steps_bytes = 0;
        t->state.has_best = false;
        t->state.epochs_without_improvement = 0;
    }
    compare_best_metric_data(t);
    return VD_OK;
}

/* ---- run outputs ---- */

static enum vd_err save_config(struct trainer *t)
{
    struct text yaml = {0};
    char *path = run_path(&t->run, "config.yaml");
    options_format_yaml(t->set, false, &yaml);
    enum vd_err err = atomic_write(path, yaml.bytes, yaml.length);
    free(yaml.bytes);
    free(path);
    return err;
}

/* Remembers what computes from here on. */
static void compare_machine(struct trainer *t)
{
    char device[SETUP_DEVICE_MAX], now[STATE_MACHINE];
    setup_describe_device(t, device, sizeof device);
    snprintf(now, sizeof now, "%s, %s", device, machine_isa());
    if (t->resume && strcmp(now, t->state.machine))
        log_warn("computed on %s so far, from here on %s: end of bit equality "
                 "with an undisturbed run",
                 t->state.machine, now);
    memcpy(t->state.machine, now, sizeof now);
}

/* Settings that have not the effect that they seem to have. */
static void warn_of_settings(const struct trainer *t)
{
    uint64_t step = t->state.step;
    if (trainer_is_finished(t))
        return;
    if (!t->policy || !t->policy->repeat_first_batch)
        schedule_warn(&t->prefetch_spec.schedule, step, t->last_step);
    if (t->stop_at > 0 && t->stop_at <= step)
        log_warn("train.stop_at: %llu is not after step %llu, from which this "
                 "run resumes: ignored\n"
                 "give a later step, or leave it out",
                 (unsigned long long)t->stop_at, (unsigned long long)step);
}

enum vd_err setup_open_outputs(struct trainer *t)
{
    compare_machine(t);
    run_info_log(t);
    warn_of_settings(t);
    VD_TRY(save_config(t));
    VD_TRY(run_info_write(t));
    VD_TRY(run_open_append_files(&t->run, &t->state));
    VD_TRY(checkpoint_writer_new(&t->writer, t->run.checkpoints, &t->graph,
                                 (int)t->config->checkpoint.keep));
    checkpoint_writer_set_guard(t->writer, run_check_owner, &t->run);
    return VD_OK;
}
