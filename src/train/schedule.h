/*
 * Learning-rate schedules: pure functions of the step. Step 0 is the first one.
 * The rate is the peak rate times the factors of warmup and of the schedule:
 *
 *     warmup      (step + 1) / warmup for the first `warmup` steps, then 1
 *     constant    1
 *     step        gamma ^ (milestones passed)
 *     cosine      (1 + cos(pi t)) / 2,  t = step / steps
 *     onecycle    rises from 1/25 to 1 over the first 30 % of steps and falls
 *                 to 1/250000, both along a cosine (as torch.optim's
 *                 OneCycleLR with its defaults, without its momentum cycle)
 *
 * After the schedule's last step the rate keeps the value of that step. A
 * resumed run evaluates the same function at its next step, so no rate is
 * saved. Local.
 */
#ifndef VOCDIST_TRAIN_SCHEDULE_H
#define VOCDIST_TRAIN_SCHEDULE_H

#include "config/config.h"

#include <stdint.h>

struct schedule {
    enum config_schedule kind;
    double lr;       /* peak */
    uint64_t steps;  /* optim.schedule_steps; 0: without an end */
    uint64_t warmup; /* steps */
    double gamma;
    const int64_t *milestones; /* steps, ascending; borrowed */
    int n_milestones;
};

/* The schedule of a config. The peak rate is scaled with the global batch
 * (optim.lr_scale), relative to CONFIG_GLOBAL_BATCH. Borrows the config's
 * milestones. */
struct schedule schedule_from_config(const struct config *config,
                                     int64_t global_batch);

/* Learning rate of a step, from 0. */
double schedule_lr(const struct schedule *s, uint64_t step);

/*
 * Warns of parts of the schedule that a run between steps `first` and `last`
 * does not use as configured: a cosine or onecycle schedule that ends before
 * the run (the rest trains at its last rate, about 0), a warmup longer than the
 * run, milestones after its end. One warning each.
 */
void schedule_warn(const struct schedule *s, uint64_t first, uint64_t last);

#endif
