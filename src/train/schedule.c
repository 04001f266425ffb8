#include "train/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846

/* From `from` to `to` along half a cosine; t in 0..1. */
static double anneal(double from, double to, double t)
{
    return to + (from - to) * 0.5 * (1 + cos(PI * t));
}

static double onecycle(double step, double steps)
{
    const double start = 1.0 / 25, end = start / 1e4;
    double peak = 0.3 * steps - 1, last = steps - 1;
    if (step <= peak)
        return anneal(start, 1, step / peak);
    return last > peak ? anneal(1, end, (step - peak) / (last - peak)) : 1;
}

static double lr_factor(const struct schedule *s, uint64_t step)
{
    double factor = 1;
    switch (s->kind) {
    case SCHEDULE_CONSTANT:
        break;
    case SCHEDULE_STEP:
        for (int i = 0; i < s->n_milestones; i++)
            if (step >= (uint64_t)s->milestones[i])
                factor *= s->gamma;
        break;
    case SCHEDULE_COSINE:
        factor = anneal(1, 0, (double)step / (double)s->steps);
        break;
    case SCHEDULE_ONECYCLE:
        factor = onecycle((double)step, (double)s->steps);
        break;
    }
    return factor;
}

struct schedule schedule_from_config(const struct config *c,
                                     int64_t global_batch)
{
    double ratio = (double)global_batch / CONFIG_GLOBAL_BATCH;
    double scale = c->optim.lr_scale == LR_SCALE_LINEAR ? ratio
                   : c->optim.lr_scale == LR_SCALE_SQRT ? sqrt(ratio)
                                                        : 1;
    return (struct schedule){.kind = (enum config_schedule)c->optim.schedule,
                             .lr = c->optim.lr * scale,
                             .steps = (uint64_t)c->optim.schedule_steps,
                             .warmup = (uint64_t)c->optim.warmup,
                             .gamma = c->optim.gamma,
                             .milestones = c->optim.milestones.values,
                             .n_milestones = c->optim.milestones.n};
}

double schedule_lr(const struct schedule *s, uint64_t step)
{
    if (step >= s->steps && s->steps > 0)
        step = s->steps - 1;
    double factor = lr_factor(s, step);
    if (step < s->warmup)
        factor *= (double)(step + 1) / (double)s->warmup;
    return s->lr * factor;
}
