#include "train/overfit.h"

#include "base/log.h"
#include "train/stop.h"
#include "train/trainer.h"

#include <stdlib.h>

/* Means over the batch, as in training. */
struct losses {
    double box, class; /* unscaled: pixels, nats */
    double sum;        /* scaled and weighted */
};

struct overfit {
    struct trainer *t;
    struct text *report;
    int64_t n_steps, done;
    struct losses first, last;
};

/* ---- settings ---- */

/* What has a reason to keep the loss up, or is of no use here. */
static enum vd_err set_overfit_options(struct option_set *set)
{
    static const char *const options[][2] = {
        {"augment.enable", "false"},    {"model.head_dropout", "0"},
        {"optim.schedule", "constant"}, {"optim.milestones", ""},
        {"optim.warmup", "0"},          {"data.val", ""},
    };
    struct text said = {0};
    enum vd_err err = VD_OK;
    for (size_t i = 0; err == VD_OK && i < sizeof options / sizeof *options;
         i++) {
        text_add(&said, "%s %s %s", i ? "," : "", options[i][0],
                 *options[i][1] ? options[i][1] : "empty");
        err = options_set(set, options[i][0], options[i][1], "--overfit-batch");
    }
    log_info("one batch again and again, with%s", said.bytes);
    free(said.bytes);
    return err;
}

/* ---- steps ---- */

/* Collective: of the step before. */
static enum vd_err mean_losses(struct trainer *t, struct losses *out)
{
    const struct graph_loss *loss = &t->graph.loss;
    double sums[4] = {0};
    int micro = (int)t->batch.micro_batch;
    for (int i = 0; i < t->loss_meter.n_local; i++) {
        uint64_t position =
            prefetch_position(&t->prefetch_spec, (size_t)(i / micro)) +
            (uint64_t)(i % micro);
        uint64_t sample = sampler_at(&t->prefetch_spec.sampler, position, NULL);
        double weight = loss->class_weights
                            ? loss->class_weights[t->train.class[sample]]
                            : 1;
        double l1 = (double)t->results[i].l1, ce = (double)t->results[i].ce;
        sums[0] += l1;
        sums[1] += ce;
        sums[2] += loss->box_scale * l1 + loss->class_scale * weight * ce;
    }
    sums[3] = stop_signal() ? 1 : 0;
    VD_TRY(comm_sum(t->comm, SITE_STEP, sums, 4));
    double n = (double)t->batch.global_batch;
    *out = (struct losses){sums[0] / n, sums[1] / n, sums[2] / n};
    return sums[3] > 0 ? comm_agree(t->comm, SITE_STEP, VD_STOPPED) : VD_OK;
}

/* A part without a factor in the loss may stay as it is. */
static bool has_fallen(const struct overfit *o)
{
    const struct graph_loss *loss = &o->t->graph.loss;
    bool box = o->last.box <= OVERFIT_MAX_FRACTION * o->first.box;
    bool class = o->last.class <= OVERFIT_MAX_FRACTION * o->first.class;
    return (box || loss->box_scale == 0) && (class || loss->class_scale == 0);
}

static enum vd_err train_steps(struct overfit *o)
{
    struct trainer *t = o->t;
    progress_start(&t->progress, "step", 0, (size_t)o->n_steps,
                   t->comm->rank != 0 || t->config->log.level < 2);
    for (o->done = 0;
         o->done < o->n_steps && !(o->done > 1 && has_fallen(o));) {
        struct step_stats step;
        char note[64];
        VD_TRY(trainer_step(t, &step));
        VD_TRY(mean_losses(t, &o->last));
        if (o->done++ == 0)
            o->first = o->last;
        snprintf(note, sizeof note, "loss %.4g", o->last.sum);
        progress_show(&t->progress, (size_t)o->done, note);
    }
    progress_end(&t->progress);
    return VD_OK;
}

/* ---- the verdict ---- */

static void report_losses(const struct overfit *o, const char *name,
                          const struct losses *l)
{
    const struct graph_loss *loss = &o->t->graph.loss;
    text_add(o->report,
             "%-12s loss %.4g = box %g x %.4g px + class %g x %.4g nats\n",
             name, l->sum, loss->box_scale, l->box, loss->class_scale,
             l->class);
}

static enum vd_err report_verdict(const struct overfit *o)
{
    double lr = o->t->prefetch_spec.schedule.lr;
    report_losses(o, "first step", &o->first);
    report_losses(o, "last step", &o->last);
    text_add(o->report,
             "left         box %.1f %%, class %.1f %% after %lld "
             "steps at learning rate %g\n",
             100 * o->last.box / o->first.box,
             100 * o->last.class / o->first.class, (long long)o->done, lr);
    if (has_fallen(o)) {
        text_add(o->report, "passed       both are under %g %%\n",
                 100 * OVERFIT_MAX_FRACTION);
        return VD_OK;
    }
    return VD_FAIL(
        VD_NUMERIC,
        "one batch, %lld steps at learning rate %g: %.1f %% of the box loss "
        "and %.1f %% of the class loss are left, not under %g %%\n"
        "try another --optim.lr or more steps; if neither helps, look at the "
        "labels",
        (long long)o->done, lr, 100 * o->last.box / o->first.box,
        100 * o->last.class / o->first.class, 100 * OVERFIT_MAX_FRACTION);
}

static enum vd_err overfit_body(struct trainer *t, void *ctx)
{
    struct overfit *o = ctx;
    o->t = t;
    VD_TRY(train_steps(o));
    enum vd_err err = has_fallen(o) ? VD_OK : VD_NUMERIC; /* of all ranks */
    if (t->comm->rank == 0)
        err = report_verdict(o);
    return comm_agree(t->comm, SITE_REPORT, err);
}

enum vd_err overfit_check(struct comm *comm, struct option_set *set,
                          struct config *config, char *const *argv,
                          int64_t steps, struct text *report)
{
    struct overfit o = {.n_steps = steps, .report = report};
    const struct session_policy policy = {.fresh = true,
                                          .repeat_first_batch = true,
                                          .body = overfit_body,
                                          .ctx = &o};
    VD_TRY(set_overfit_options(set));
    return trainer_run_session(comm, set, config, argv, &policy);
}
