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
    case SCHEDULE_KIND_CONSTANT:
        break;
    case SCHEDULE_KIND_STEP:
        for (int i = 0; i < s->n_milestones; i++)
            if (step >= (uint64_t)s->milestones[i])
                factor *= s->gamma;
        break;
    case SCHEDULE_KIND_COSINE:
        factor = anneal(1, 0, (double)step / (double)s->steps);
        break;
    case SCHEDULE_KIND_ONECYCLE:
        factor = onecycle((double)step, (double)s->steps);
        break;
    }
    return factor;
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
