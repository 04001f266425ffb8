/*
 * The loop over steps.
 *
 * Each step is followed by a reduction of flags (stop, save) over all ranks.
 * It is started after step k and completed after step k + 1, so no step waits
 * for it; all ranks act on the same flags at the same step. A checkpoint is
 * started only after the flags of all its steps are complete.
 *
 * A checkpoint is written at the end of each epoch, every checkpoint.every
 * steps, every checkpoint.minutes of rank 0's clock, and before a stop. The
 * last step of an epoch is the last one with an image of it; a step may contain
 * images of two epochs, whose losses are summed separately
 * (train/loss_meter.h).
 */
#include "train/train_loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "data/sampler.h"
#include "train/epoch.h"
#include "train/stop.h"

#include <stdio.h>

enum flag {
    FLAG_STOP = 1, /* a signal, or train.max_time is over */
    FLAG_SAVE = 2, /* a checkpoint is due */
};

struct loop {
    struct session *session;
    double started, saved; /* clock_now() */
    int flags_pending;     /* steps whose flags are not complete yet */
    bool stop, save;       /* agreed */
    uint64_t saved_step;
};

/* ---- flags ---- */

static uint32_t local_flags(const struct loop *l)
{
    const struct config *c = l->session->config;
    double now = clock_now(), minutes = c->checkpoint.minutes;
    uint32_t flags = stop_signal() ? FLAG_STOP : 0;
    if (l->session->comm->rank == 0) {
        if (minutes > 0 && now - l->saved > 60 * minutes)
            flags |= FLAG_SAVE;
        if (c->train.max_time > 0 && now - l->started > 60 * c->train.max_time)
            flags |= FLAG_STOP;
    }
    return flags;
}

/* Completes the flags of all steps but the last `lag`. */
static enum vd_err complete_flags(struct loop *l, int lag)
{
    for (; l->flags_pending > lag; l->flags_pending--) {
        uint32_t any = 0;
        VD_TRY(comm_flags_finish(l->session->comm, &any));
        l->stop = l->stop || any & FLAG_STOP;
        l->save = l->save || any & FLAG_SAVE;
    }
    return VD_OK;
}

/* ---- one step ---- */

static void show_progress(struct session *s, const struct step_stats *step)
{
    char loss[32] = "", note[128];
    const struct loss_sums *sum = &s->losses.sums[0];
    if (sum->n_finite)
        snprintf(loss, sizeof loss, ", loss %.3g",
                 sum->loss / (double)sum->n_finite);
    snprintf(note, sizeof note, "epoch %llu%s, %.1f images/s, waiting %.0f %%",
             (unsigned long long)s->state.epoch + 1, loss,
             (double)s->plan.batch.global_batch / step->seconds,
             100 * step->waited_s / step->seconds);
    progress_show(&s->progress, (size_t)s->state.step, note);
}

static uint64_t next_checkpoint(const struct loop *l)
{
    uint64_t every = (uint64_t)l->session->config->checkpoint.every;
    return every > 0 ? (l->session->state.step / every + 1) * every
                     : UINT64_MAX;
}

/* The sampler counts steps from 0, the state from 1. */
static uint64_t epoch_end_step(const struct session *s)
{
    uint64_t batch = (uint64_t)s->plan.batch.global_batch;
    return sampler_last_step(s->data.train.n_images, s->state.epoch, batch) + 1;
}

/* The last step that may be launched now: the device must be idle when values
 * are read from it, at the end of an epoch, for a checkpoint, and at the end.
 * If the flags demand a stop or a checkpoint, 0: only the steps in flight are
 * completed. */
static uint64_t next_barrier(const struct loop *l)
{
    const struct session *s = l->session;
    const uint64_t barriers[] = {
        epoch_end_step(s), next_checkpoint(l), s->plan.last_step,
        s->plan.stop_at > s->state.step ? s->plan.stop_at : UINT64_MAX};
    uint64_t first = barriers[0];
    for (size_t i = 1; i < sizeof barriers / sizeof *barriers; i++)
        if (barriers[i] < first)
            first = barriers[i];
    return l->stop || l->save ? 0 : first;
}

static enum vd_err train_step(struct loop *l)
{
    struct session *s = l->session;
    struct step_stats step;
    VD_TRY(session_step(s, next_barrier(l), &step));
    s->state.epoch_seconds += step.seconds;
    VD_TRY(comm_flags_start(s->comm, SITE_FLAGS, local_flags(l)));
    l->flags_pending++;
    VD_TRY(complete_flags(l, 1));
    if (loss_meter_add(&s->losses, &step, s->engine.results))
        VD_TRY(loss_meter_flush(&s->losses));
    show_progress(s, &step);
    return VD_OK;
}

/* ---- saving ---- */

/* Collective. */
static enum vd_err save_checkpoint(struct loop *l, bool best)
{
    VD_TRY(complete_flags(l, 0));
    l->save = false;
    l->saved = clock_now();
    l->saved_step = l->session->state.step;
    return session_save(l->session, best);
}

static enum vd_err save_mid_epoch(struct loop *l)
{
    VD_TRY(loss_meter_flush(&l->session->losses));
    return save_checkpoint(l, false);
}

static bool is_save_due(const struct loop *l)
{
    const struct session *s = l->session;
    uint64_t every = (uint64_t)s->config->checkpoint.every;
    return (l->save && !session_is_in_flight(s)) ||
           (every > 0 && s->state.step % every == 0);
}

static enum vd_err save_epoch(struct loop *l)
{
    bool best = false;
    VD_TRY(epoch_end(l->session, &best));
    return save_checkpoint(l, best);
}

/* ---- the loop ---- */

static enum vd_err train_steps(struct loop *l)
{
    struct session *s = l->session;
    uint64_t first = s->state.step + 1, stop_at = s->plan.stop_at;
    while (!session_is_finished(s) && (!l->stop || session_is_in_flight(s))) {
        VD_TRY(train_step(l));
        if (s->state.step == first)
            VD_TRY(session_check_memory(s));
        if (s->state.step == epoch_end_step(s))
            VD_TRY(save_epoch(l));
        else if (is_save_due(l))
            VD_TRY(save_mid_epoch(l));
        if (s->state.step == stop_at)
            l->stop = true;
    }
    VD_TRY(complete_flags(l, 0));
    return s->state.step > l->saved_step ? save_mid_epoch(l) : VD_OK;
}

static void log_early_stop(const struct session *s)
{
    log_info("%s ends after step %llu of %llu: %llu validated epochs without a "
             "lower %s than %.6g (train.patience); to continue, give a larger "
             "--train.patience, or 0",
             s->config->train.name, (unsigned long long)s->state.step,
             (unsigned long long)s->plan.last_step,
             (unsigned long long)s->state.epochs_without_improvement,
             s->data.has_val ? "val_loss" : "train_loss", s->state.best);
}

/* Exports again: an earlier start may have been killed during its export. */
static enum vd_err export_finished_run(struct session *s)
{
    if (session_has_all_steps(s))
        log_info("%s has all its %llu steps; to continue, give more "
                 "--train.epochs",
                 s->config->train.name, (unsigned long long)s->plan.last_step);
    else
        log_early_stop(s);
    return session_export(s);
}

static enum vd_err finish_training(struct session *s)
{
    enum vd_err err = s->writer ? checkpoint_writer_wait(s->writer) : VD_OK;
    VD_TRY(comm_agree(s->comm, SITE_CHECKPOINT, err));
    progress_end(&s->progress);
    if (session_is_finished(s)) {
        if (!session_has_all_steps(s))
            log_early_stop(s);
        return session_export(s);
    }
    log_info("stopped after step %llu of %llu; run the same command again to "
             "resume",
             (unsigned long long)s->state.step,
             (unsigned long long)s->plan.last_step);
    return comm_agree(s->comm, SITE_SHUTDOWN, VD_STOPPED);
}

static enum vd_err train_body(struct session *s, void *ctx)
{
    (void)ctx;
    struct loop l = {.session = s,
                     .started = clock_now(),
                     .saved = clock_now(),
                     .saved_step = s->state.step};
    if (session_is_finished(s))
        return export_finished_run(s);
    progress_start(&s->progress, "step", s->state.step, s->plan.last_step,
                   s->comm->rank != 0 || s->config->log.level < 2);
    VD_TRY(epoch_validate_initial(s));
    VD_TRY(train_steps(&l));
    return finish_training(s);
}

enum vd_err train_run(struct comm *comm, struct option_set *options,
                      struct config *config, char *const *argv)
{
    const struct session_policy policy = {.body = train_body};
    return session_run(comm, options, config, argv, &policy);
}
