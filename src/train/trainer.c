#include "train/trainer.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "train/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What ranks tell each other about a step, one step later. */
enum flag {
    FLAG_STOP = 1, /* somebody wants to stop */
    FLAG_SAVE = 2, /* time for a checkpoint */
};

struct loop {
    struct trainer *t;
    double started, saved; /* clock_now() */
    bool stop, save;       /* agreed */
    uint64_t saved_step;
    struct step_stats step;
};

/* ---- one step ---- */

static enum vd_err wait_staged(void *ctx)
{
    struct trainer *t = ctx;
    return prefetch_wait(t->prefetch, &t->waited_s);
}

#define MAX_NAMED  8    /* images of a rank in a message */
#define MAX_LISTED 2048 /* bytes of all ranks; a line of the log has an end */

/* Images of mine whose loss is not finite: "rank 1 (host): a, b". */
static void list_non_finite(const struct trainer *t, struct text *out)
{
    int micro = (int)t->batch.micro_batch, n = 0;
    size_t first = (size_t)(t->state.step - t->prefetch_spec.first_step) *
                   (size_t)t->prefetch_spec.n_replicas;
    for (int i = 0; i < t->loss_meter.n_local; i++) {
        if (isfinite(t->results[i].l1) && isfinite(t->results[i].ce))
            continue;
        if (n++ >= MAX_NAMED)
            continue;
        uint64_t position =
            prefetch_position(&t->prefetch_spec, first + (size_t)(i / micro)) +
            (uint64_t)(i % micro);
        uint64_t sample = sampler_at(&t->prefetch_spec.sampler, position, NULL);
        if (out->length)
            text_add(out, ", ");
        else
            text_add(out, "; rank %d (%s): ", t->comm->rank,
                     t->comm->hosts[t->comm->rank]);
        text_add(out, "%s", t->train.id[sample]);
    }
    if (n > MAX_NAMED)
        text_add(out, " and %d more", n - MAX_NAMED);
}

/* Collective: rank 0 speaks for all; nothing of this step is published. */
static enum vd_err fail_non_finite_step(struct trainer *t)
{
    struct text mine = {0};
    void *all = NULL;
    size_t total = 0, *sizes = xcalloc((size_t)t->comm->size, sizeof *sizes);
    list_non_finite(t, &mine);
    enum vd_err err =
        comm_gather(t->comm, SITE_STEP, mine.bytes, mine.length, &all, sizes);
    for (int r = 0; r < t->comm->size; r++)
        total += sizes[r];
    if (err == VD_OK)
        err = VD_NUMERIC;
    if (err == VD_NUMERIC && t->comm->rank == 0)
        err = VD_FAIL(VD_NUMERIC,
                      "step %llu: %s%.*s%s\n"
                      "start a run of another name with a smaller --optim.lr "
                      "or --optim.clip_norm 1; it can begin with the last "
                      "checkpoint's weights (vocdist export, then "
                      "--model.weights)",
                      (unsigned long long)t->state.step + 1,
                      total ? "the loss is not finite"
                            : "the gradient is not finite (all losses are)",
                      (int)(total < MAX_LISTED ? total : MAX_LISTED),
                      (const char *)all, total > MAX_LISTED ? "..." : "");
    alloc_aligned_free(all);
    free(sizes);
    free(mine.bytes);
    return err == VD_NUMERIC ? comm_agree(t->comm, SITE_STEP, err) : err;
}

static uint32_t local_flags(const struct loop *l)
{
    const struct config *c = l->t->config;
    double now = clock_now();
    uint32_t flags = stop_signal() ? FLAG_STOP : 0;
    if (l->t->comm->rank == 0) {
        double minutes = c->checkpoint.minutes;
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
    struct trainer *t = l->t;
    for (; t->flags_pending > lag; t->flags_pending--) {
        uint32_t any = 0;
        VD_TRY(comm_flags_finish(t->comm, &any));
        l->stop = l->stop || any & FLAG_STOP;
        l->save = l->save || any & FLAG_SAVE;
    }
    return VD_OK;
}

enum vd_err trainer_step(struct trainer *t, struct step_stats *done)
{
    double limit = t->config->timeout.step;
    struct update_result update = {0};
    comm_enter(t->comm, SITE_STEP, (int64_t)t->state.step + 1, limit);
    t->waited_s = 0;
    double begin = clock_now();
    VD_TRY(step_run(&t->step, wait_staged, t, t->results,
                    (int)t->batch.micro_batch, &update));
    if (!update.finite)
        return fail_non_finite_step(t);
    t->state.step++;
    *done = (struct step_stats){
        .step = t->state.step,
        .lr = schedule_lr(&t->prefetch_spec.schedule, t->state.step - 1),
        .grad_norm = update.grad_norm,
        .seconds = clock_now() - begin,
        .waited_s = t->waited_s};
    return VD_OK;
}

static enum vd_err train_step(struct loop *l)
{
    struct trainer *t = l->t;
    VD_TRY(trainer_step(t, &l->step));
    t->state.epoch_seconds += l->step.seconds;
    VD_TRY(comm_flags_start(t->comm, SITE_FLAGS, local_flags(l)));
    t->flags_pending++;
    VD_TRY(complete_flags(l, 1));
    return loss_meter_add(&t->loss_meter, &l->step, t->results)
               ? loss_meter_flush(&t->loss_meter)
               : VD_OK;
}

static void show_progress(const struct loop *l)
{
    struct trainer *t = l->t;
    char loss[32] = "", note[128];
    const struct loss_sums *sum = &t->loss_meter.sums[0];
    if (sum->n)
        snprintf(loss, sizeof loss, ", loss %.3g", sum->loss / (double)sum->n);
    snprintf(note, sizeof note, "epoch %llu%s, %.1f images/s, waiting %.0f %%",
             (unsigned long long)t->state.epoch + 1, loss,
             (double)t->batch.global_batch / l->step.seconds,
             100 * l->step.waited_s / l->step.seconds);
    progress_show(&t->progress, (size_t)t->state.step, note);
}

/* ---- validation and epochs ---- */

enum vd_err trainer_validate(struct trainer *t, struct eval_means *means)
{
    struct eval_summary summary = {0};
    struct eval_row *rows = NULL;
    double limit = t->config->timeout.setup;
    comm_enter(t->comm, SITE_EVAL, (int64_t)t->state.step, limit);
    if (t->comm->rank == 0)
        rows = xcalloc(t->val.n_images, sizeof *rows);
    enum vd_err err = t->backend.ops->release_workspace(t->net);
    if (err == VD_OK)
        err = evaluator_run(t->evaluator, t->comm, rows, &summary);
    *means = summary.means;
    eval_summary_clear(&summary);
    free(rows);
    return err;
}

/* One row of metrics.csv; empty columns for what was not done. */
static enum vd_err write_metrics_row(struct trainer *t,
                                     const struct loss_sums *sum,
                                     const struct eval_means *means)
{
    struct text row = {0};
    double n = sum ? (double)sum->n : 0;
    text_add(&row, "%llu,%llu,", (unsigned long long)t->state.epoch,
             (unsigned long long)t->state.step);
    if (sum)
        text_add(&row, "%.6f,%.6f,%.6f,", sum->loss / n, sum->l1 / n,
                 sum->ce / n);
    else
        text_add(&row, ",,,");
    if (means)
        text_add(&row, "%.6f,%.6f,%.6f,%.6f,%.6f,", means->loss, means->l1,
                 means->accuracy, means->iou, means->loc50);
    else
        text_add(&row, ",,,,,");
    if (sum)
        text_add(&row, "%.2f,%.6g,%.2f",
                 (double)t->train.n_images / t->state.epoch_seconds,
                 schedule_lr(&t->prefetch_spec.schedule, t->state.step - 1),
                 t->state.epoch_seconds);
    else
        text_add(&row, ",,");
    enum vd_err err = append_file_printf(&t->run.metrics, "%s\n", row.bytes);
    free(row.bytes);
    return err;
}

static void log_epoch(const struct trainer *t, const struct loss_sums *sum,
                      const struct eval_means *means)
{
    struct text line = {0};
    text_add(&line, "epoch %llu", (unsigned long long)t->state.epoch);
    if (sum) {
        const struct graph_loss *loss = &t->graph.loss;
        double n = (double)sum->n;
        text_add(&line, ": train loss %.4g (box %g x %.4g px, class %g x %.4g)",
                 sum->loss / n, loss->box_scale, sum->l1 / n, loss->class_scale,
                 sum->ce / n);
    }
    if (means)
        text_add(&line,
                 "%s val loss %.4g, accuracy %.1f %%, L1 %.1f px, IoU %.3f, "
                 "LOC@0.5 %.1f %%",
                 sum ? ";" : ":", means->loss, 100 * means->accuracy, means->l1,
                 means->iou, 100 * means->loc50);
    if (sum)
        text_add(&line, "; %.1f images/s",
                 (double)t->train.n_images / t->state.epoch_seconds);
    log_info("%s", line.bytes);
    free(line.bytes);
}

/* Rank 0: rows and the best so far; the verdict is agreed by the caller. */
static enum vd_err record_epoch(struct trainer *t, const struct loss_sums *sum,
                                const struct eval_means *means, bool *best)
{
    double value = means ? means->loss
                   : sum ? sum->loss / (double)sum->n
                         : INFINITY;
    bool has_metric = sum && (means || !t->has_val);
    *best = has_metric && isfinite(value) &&
            (!t->state.has_best || value < t->state.best);
    if (*best) {
        t->state.has_best = true;
        t->state.best = value;
        t->state.epochs_without_improvement = 0;
    } else if (has_metric) {
        t->state.epochs_without_improvement++;
    }
    progress_end(&t->progress);
    log_epoch(t, sum, means);
    return write_metrics_row(t, sum, means);
}

/* Collective: what is saved is agreed clean, flags of its last step included.
 */
static enum vd_err save_checkpoint(struct loop *l, bool best)
{
    VD_TRY(complete_flags(l, 0));
    l->save = false;
    l->saved = clock_now();
    l->saved_step = l->t->state.step;
    return trainer_save(l->t, best);
}

static enum vd_err end_epoch(struct loop *l)
{
    struct trainer *t = l->t;
    struct eval_means means, *val_means = NULL;
    bool best = false;
    VD_TRY(loss_meter_flush(&t->loss_meter));
    struct loss_sums sum = loss_meter_end_epoch(&t->loss_meter);
    t->state.epoch++;
    bool is_last = t->state.step >= t->last_step;
    if (t->has_val &&
        (t->state.epoch % (uint64_t)t->config->eval.every == 0 || is_last)) {
        VD_TRY(trainer_validate(t, &means));
        val_means = &means;
    }
    enum vd_err err =
        t->comm->rank == 0 ? record_epoch(t, &sum, val_means, &best) : VD_OK;
    VD_TRY(comm_agree(t->comm, SITE_EPOCH, err));
    /* Rank 0 alone knows the losses; all must know whether this was enough. */
    VD_TRY(comm_bcast(t->comm, SITE_EPOCH, &t->state.epochs_without_improvement,
                      sizeof t->state.epochs_without_improvement, 0));
    t->state.epoch_seconds = 0;
    return save_checkpoint(l, best);
}

static enum vd_err validate_initial(struct trainer *t)
{
    struct eval_means means;
    bool best;
    if (t->state.step > 0 || !t->has_val)
        return VD_OK;
    VD_TRY(trainer_validate(t, &means));
    enum vd_err err =
        t->comm->rank == 0 ? record_epoch(t, NULL, &means, &best) : VD_OK;
    return comm_agree(t->comm, SITE_EPOCH, err);
}

/* ---- the loop ---- */

static bool has_all_steps(const struct trainer *t)
{
    return t->state.step >= t->last_step;
}

bool trainer_is_finished(const struct trainer *t)
{
    int64_t patience = t->config->train.patience;
    return has_all_steps(t) ||
           (patience > 0 &&
            t->state.epochs_without_improvement >= (uint64_t)patience);
}

static void log_early_stop(const struct trainer *t)
{
    log_info("%s ends after step %llu of %llu: %llu validated epochs without a "
             "lower %s than %.6g (train.patience); it goes on with a larger "
             "--train.patience, or 0",
             t->config->train.name, (unsigned long long)t->state.step,
             (unsigned long long)t->last_step,
             (unsigned long long)t->state.epochs_without_improvement,
             t->has_val ? "val_loss" : "train_loss", t->state.best);
}

static enum vd_err save_mid_epoch(struct loop *l)
{
    VD_TRY(loss_meter_flush(&l->t->loss_meter));
    return save_checkpoint(l, false);
}

static bool is_save_due(const struct loop *l)
{
    const struct trainer *t = l->t;
    int64_t every = t->config->checkpoint.every;
    return l->save || (every > 0 && t->state.step % (uint64_t)every == 0);
}

static enum vd_err train_loop(struct loop *l)
{
    struct trainer *t = l->t;
    uint64_t batch = (uint64_t)t->batch.global_batch;
    uint64_t stop_at = t->stop_at > t->state.step ? t->stop_at : 0;
    uint64_t first = t->state.step + 1;
    while (!trainer_is_finished(t) && !l->stop) {
        VD_TRY(train_step(l));
        if (t->state.step == first)
            VD_TRY(trainer_check_memory(t));
        show_progress(l);
        uint64_t ends =
            sampler_last_step(t->train.n_images, t->state.epoch, batch);
        if (t->state.step == ends + 1)
            VD_TRY(end_epoch(l));
        else if (is_save_due(l))
            VD_TRY(save_mid_epoch(l));
        if (t->state.step == stop_at)
            l->stop = true;
    }
    VD_TRY(complete_flags(l, 0));
    return t->state.step > l->saved_step ? save_mid_epoch(l) : VD_OK;
}

static enum vd_err finish_training(struct loop *l)
{
    struct trainer *t = l->t;
    enum vd_err err = t->writer ? checkpoint_writer_wait(t->writer) : VD_OK;
    VD_TRY(comm_agree(t->comm, SITE_CHECKPOINT, err));
    progress_end(&t->progress);
    if (trainer_is_finished(t)) {
        if (!has_all_steps(t))
            log_early_stop(t);
        return trainer_export(t);
    }
    log_info("stopped after step %llu of %llu; run the same command again to "
             "go on",
             (unsigned long long)t->state.step,
             (unsigned long long)t->last_step);
    return comm_agree(t->comm, SITE_SHUTDOWN, VD_STOPPED);
}

static enum vd_err run_training(struct trainer *t)
{
    struct loop l = {.t = t,
                     .started = clock_now(),
                     .saved = clock_now(),
                     .saved_step = t->state.step};
    if (trainer_is_finished(t)) {
        if (has_all_steps(t))
            log_info("%s has all its %llu steps; more with --train.epochs",
                     t->config->train.name, (unsigned long long)t->last_step);
        else
            log_early_stop(t);
        return trainer_export(t); /* which may be what was interrupted */
    }
    progress_start(&t->progress, "step", t->state.step, t->last_step,
                   t->comm->rank != 0 || t->config->log.level < 2);
    VD_TRY(validate_initial(t));
    VD_TRY(train_loop(&l));
    return finish_training(&l);
}

enum vd_err trainer_run_session(struct comm *comm, struct option_set *set,
                                struct config *config, char *const *argv,
                                const struct session_policy *policy)
{
    struct trainer *t = xcalloc(1, sizeof *t);
    *t = (struct trainer){.comm = comm,
                          .set = set,
                          .config = config,
                          .argv = argv,
                          .policy = policy,
                          .run = {.lock_fd = -1}};
    stop_install_handlers(); /* a signal during the start stops after the first
                                step */
    enum vd_err err = trainer_open(t);
    if (err == VD_OK)
        err = policy ? policy->body(t, policy->ctx) : run_training(t);
    if (policy && err == VD_STOPPED)
        log_info("the scratch session was stopped");
    comm_enter(comm, SITE_SHUTDOWN, -1, config->timeout.setup);
    /* A rank that is alone with its error must not wait for its threads, which
     * use the trainer until comm_close() ends the process. */
    if (err == comm->agreed_err) {
        trainer_close(t);
        free(t);
    }
    return err;
}

enum vd_err trainer_run(struct comm *comm, struct option_set *set,
                        struct config *config, char *const *argv)
{
    return trainer_run_session(comm, set, config, argv, NULL);
}
