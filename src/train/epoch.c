/*
 * Rank 0 has the losses of all images (train/loss_meter.h) and the validation
 * means, so it alone decides and writes. The condition of the training loop
 * depends on epochs_without_improvement, which is therefore broadcast.
 */
#include "train/epoch.h"

#include "base/log.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>

/* One row of metrics.csv; columns without a value stay empty. */
static enum vd_err add_metrics(struct session *s, const struct loss_sums *sum,
                               const struct eval_means *means)
{
    struct text row = {0};
    double n = sum ? (double)sum->n_finite : 0;
    text_add(&row, "%llu,%llu,", (unsigned long long)s->state.epoch,
             (unsigned long long)s->state.step);
    if (n > 0)
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
                 (double)s->data.train.n_images / s->state.epoch_seconds,
                 schedule_lr(&s->engine.input.schedule, s->state.step - 1),
                 s->state.epoch_seconds);
    else
        text_add(&row, ",,");
    enum vd_err err = append_file_printf(&s->folder.metrics, "%s\n", row.bytes);
    free(row.bytes);
    return err;
}

static void log_epoch(const struct session *s, const struct loss_sums *sum,
                      const struct eval_means *means)
{
    struct text line = {0};
    text_add(&line, "epoch %llu", (unsigned long long)s->state.epoch);
    if (sum) {
        const struct graph_loss *loss = &s->engine.graph.loss;
        double n = (double)sum->n_finite;
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
                 (double)s->data.train.n_images / s->state.epoch_seconds);
    log_info("%s", line.bytes);
    free(line.bytes);
}

/* False if the epoch has no value: before training, or not validated. */
static bool get_metric(const struct session *s, const struct loss_sums *sum,
                       const struct eval_means *means, double *value)
{
    if (!sum || (s->data.has_val && !means))
        return false;
    *value = s->data.has_val ? means->loss : sum->loss / (double)sum->n_finite;
    return true;
}

static bool update_best(struct train_state *state, double value)
{
    bool best = isfinite(value) && (!state->has_best || value < state->best);
    if (best) {
        state->has_best = true;
        state->best = value;
        state->epochs_without_improvement = 0;
    } else {
        state->epochs_without_improvement++;
    }
    return best;
}

/* Rank 0; the caller agrees on the result. */
static enum vd_err record_epoch(struct session *s, const struct loss_sums *sum,
                                const struct eval_means *means, bool *best)
{
    double value;
    *best = get_metric(s, sum, means, &value) && update_best(&s->state, value);
    progress_end(&s->progress);
    log_epoch(s, sum, means);
    return add_metrics(s, sum, means);
}

static bool is_validated(const struct session *s)
{
    uint64_t every = (uint64_t)s->config->eval.every;
    return s->data.has_val &&
           (s->state.epoch % every == 0 || session_has_all_steps(s));
}

enum vd_err epoch_end(struct session *s, bool *best)
{
    struct eval_means means, *validated = NULL;
    VD_TRY(loss_meter_flush(&s->losses));
    struct loss_sums sum = loss_meter_end_epoch(&s->losses);
    s->state.epoch++;
    if (is_validated(s)) {
        VD_TRY(session_validate(s, &means));
        validated = &means;
    }
    enum vd_err err =
        s->comm->rank == 0 ? record_epoch(s, &sum, validated, best) : VD_OK;
    VD_TRY(comm_agree(s->comm, SITE_EPOCH, err));
    VD_TRY(comm_bcast(s->comm, SITE_EPOCH, &s->state.epochs_without_improvement,
                      sizeof s->state.epochs_without_improvement, 0));
    s->state.epoch_seconds = 0;
    return VD_OK;
}

enum vd_err epoch_validate_initial(struct session *s)
{
    struct eval_means means;
    bool best;
    if (s->state.step > 0 || !s->data.has_val)
        return VD_OK;
    VD_TRY(session_validate(s, &means));
    enum vd_err err =
        s->comm->rank == 0 ? record_epoch(s, NULL, &means, &best) : VD_OK;
    return comm_agree(s->comm, SITE_EPOCH, err);
}
