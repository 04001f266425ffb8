/*
 * Learning rates: pure functions of the step. Step 0 is the first one.
 *
 *     warmup      rate x (step + 1) / warmup for the first `warmup` steps
 *     constant    1
 *     step        gamma ^ (milestones passed)
 *     cosine      (1 + cos(pi t)) / 2,  t = step / steps
 *     onecycle    rises from 1/25 to 1 over the first 30 % of steps and falls
 *                 to 1/250000, both along a cosine (as torch.optim's
 *                 OneCycleLR with its defaults; momenta stay as they are)
 *
 * Past the last step the rate stays what it was there. Local.
 */
#ifndef VOCDIST_TRAIN_SCHEDULE_H
#define VOCDIST_TRAIN_SCHEDULE_H

#include <stdint.h>

enum schedule_kind {
    SCHEDULE_KIND_CONSTANT,
    SCHEDULE_KIND_STEP,
    SCHEDULE_KIND_COSINE,
    SCHEDULE_KIND_ONECYCLE,
};

struct schedule {
    enum schedule_kind kind;
    double lr; /* the peak */
    uint64_t steps, warmup;
    double gamma;
    const int64_t *milestones; /* steps, rising; borrowed */
    int n_milestones;
};

double schedule_lr(const struct schedule *s, uint64_t step);

/*
 * Warns of what a run that has done `first` of its `last` steps does not get:
 * a cosine or onecycle schedule that ends before the run (which then trains at
 * its last rate, about 0), a warmup longer than the run, milestones that are
 * not reached. One warning each.
 */
void schedule_warn(const struct schedule *s, uint64_t first, uint64_t last);

#endif
