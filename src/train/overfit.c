/*
 * Each step trains on the same batch. After each step the mean losses are
 * summed over the ranks, so all ranks stop at the same step: when both losses
 * have fallen to OVERFIT_MAX_FRACTION of their first value, or after the given
 * number of steps.
 */
#include "train/overfit.h"

#include "base/log.h"
#include "train/session.h"
#include "train/stop.h"

#include <stdlib.h>

/* Means over the batch, as in training. */
struct losses {
    double box, class; /* unscaled: pixels, nats */
    double sum;        /* scaled and weighted */
};

struct overfit {
    struct session *session;
    struct text *report;
    int64_t n_steps, done;
    struct losses first, last;
};

/* ---- settings ---- */

/* Turns off what would keep the loss from falling, and validation. */
static enum vd_err set_overfit_options(struct option_set *set)
{
    static const char *const options[][2] = {
        {"augment.enable", "false"},    {"model.head_dropout", "0"},
        {"optim.schedule", "constant"}, {"optim.milestones", ""},
        {"optim.warmup", "0"},          {"data.val", ""},
    };
    struct text settings = {0};
    enum vd_err err = VD_OK;
    for (size_t i = 0; err == VD_OK && i < sizeof options / sizeof *options;
         i++) {
        text_add(&settings, "%s %s %s", i ? "," : "", options[i][0],
                 *options[i][1] ? options[i][1] : "empty");
        err = options_set(set, options[i][0], options[i][1], "--overfit-batch");
    }
    log_info("overfitting a single batch, with%s", settings.bytes);
    free(settings.bytes);
    return err;
}

/* ---- steps ---- */

/* Collective: means of the last step, over all ranks. VD_STOPPED, agreed, after
 * a signal. */
static enum vd_err mean_losses(struct session *s, struct losses *out)
{
    const struct engine *e = &s->engine;
    double sums[4] = {0};
    for (int i = 0; i < e->n_local; i++) {
        uint64_t index = engine_image_index(e, 0, i);
        double l1 = (double)e->results[i].l1, ce = (double)e->results[i].ce;
        sums[0] += l1;
        sums[1] += ce;
        sums[2] +=
            graph_loss_of_image(&e->graph.loss, e->data->class[index], l1, ce);
    }
    sums[3] = stop_signal() ? 1 : 0;
    VD_TRY(comm_sum(s->comm, SITE_STEP, sums, 4));
    double n = (double)s->plan.batch.global_batch;
    *out = (struct losses){sums[0] / n, sums[1] / n, sums[2] / n};
    return sums[3] > 0 ? comm_agree(s->comm, SITE_STEP, VD_STOPPED) : VD_OK;
}

/* A part whose scale is 0 is not trained. */
static bool has_fallen(const struct overfit *o)
{
    const struct graph_loss *loss = &o->session->engine.graph.loss;
    bool box = o->last.box <= OVERFIT_MAX_FRACTION * o->first.box;
    bool class = o->last.class <= OVERFIT_MAX_FRACTION * o->first.class;
    return (box || loss->box_scale == 0) && (class || loss->class_scale == 0);
}

static enum vd_err train_steps(struct overfit *o)
{
    struct session *s = o->session;
    progress_start(&s->progress, "step", 0, (size_t)o->n_steps,
                   s->comm->rank != 0 || s->config->log.level < 2);
    for (o->done = 0;
         o->done < o->n_steps && !(o->done > 1 && has_fallen(o));) {
        struct step_stats step;
        char note[64];
        VD_TRY(session_step(s, 0, &step));
        VD_TRY(mean_losses(s, &o->last));
        if (o->done++ == 0)
            o->first = o->last;
        snprintf(note, sizeof note, "loss %.4g", o->last.sum);
        progress_show(&s->progress, (size_t)o->done, note);
    }
    progress_end(&s->progress);
    return VD_OK;
}

/* ---- the result ---- */

static void report_losses(const struct overfit *o, const char *name,
                          const struct losses *l)
{
    const struct graph_loss *loss = &o->session->engine.graph.loss;
    text_add(o->report,
             "%-12s loss %.4g = box %g x %.4g px + class %g x %.4g nats\n",
             name, l->sum, loss->box_scale, l->box, loss->class_scale,
             l->class);
}

static enum vd_err report_verdict(const struct overfit *o)
{
    double lr = o->session->engine.input.schedule.lr;
    report_losses(o, "first step", &o->first);
    report_losses(o, "last step", &o->last);
    text_add(o->report,
             "remaining    box %.1f %%, class %.1f %% after %lld "
             "steps at learning rate %g\n",
             100 * o->last.box / o->first.box,
             100 * o->last.class / o->first.class, (long long)o->done, lr);
    if (has_fallen(o)) {
        text_add(o->report, "passed       both are at most %g %%\n",
                 100 * OVERFIT_MAX_FRACTION);
        return VD_OK;
    }
    return VD_FAIL(
        VD_NUMERIC,
        "--overfit-batch: after %lld steps at learning rate %g, %.1f %% of the "
        "box loss and %.1f %% of the class loss remain (at most %g %% pass)\n"
        "try another --optim.lr or more steps; if neither helps, check the "
        "labels",
        (long long)o->done, lr, 100 * o->last.box / o->first.box,
        100 * o->last.class / o->first.class, 100 * OVERFIT_MAX_FRACTION);
}

static enum vd_err overfit_body(struct session *s, void *ctx)
{
    struct overfit *o = ctx;
    o->session = s;
    VD_TRY(train_steps(o));
    enum vd_err err =
        has_fallen(o) ? VD_OK : VD_NUMERIC; /* equal on all ranks */
    if (s->comm->rank == 0)
        err = report_verdict(o);
    return comm_agree(s->comm, SITE_REPORT, err);
}

enum vd_err overfit_check(struct comm *comm, struct option_set *set,
                          struct config *config, char *const *argv,
                          int64_t steps, struct text *report)
{
    struct overfit o = {.n_steps = steps, .report = report};
    const struct session_policy policy = {.scratch_outputs = true,
                                          .fresh = true,
                                          .n_steps = SESSION_UNLIMITED_STEPS,
                                          .repeat_first_batch = true,
                                          .body = overfit_body,
                                          .ctx = &o};
    VD_TRY(set_overfit_options(set));
    return session_run(comm, set, config, argv, &policy);
}
