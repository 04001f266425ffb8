/*
 * Learning rates: pure functions of the step. Step 0 is the first one.
 *
 *     warmup      rate x (step + 1) / warmup for the first `warmup` steps
 *     constant    1
 *     step        gamma ^ (milestones passed)
 *     cosine      (1 + cos(pi t)) / 2,  t = step / steps
 *     onecycle    rises from 1/25 to 1 over the first 30 % of steps and falls
 *                 to 1/250000, both along a cosine (as torch.optim's
 *                 OneCycleLR with its defaults, without its momentum cycle)
 *
 * After the last step the rate keeps its value of that step. A resumed run
 * evaluates the same function at its next step, so it needs no saved rate.
 * Local.
 */
#ifndef VOCDIST_TRAIN_SCHEDULE_H
#define VOCDIST_TRAIN_SCHEDULE_H

#include "config/config.h"

#include <stdint.h>

struct schedule {
    enum config_schedule kind;
    double lr; /* peak */
    uint64_t steps, warmup;
    double gamma;
    const int64_t *milestones; /* steps, ascending; borrowed */
    int n_milestones;
};

/* The schedule of a config. The rate is scaled with the global batch
 * (optim.lr_scale), relative to CONFIG_GLOBAL_BATCH. Borrows its milestones. */
struct schedule schedule_from_config(const struct config *config,
                                     int64_t global_batch);

double schedule_lr(const struct schedule *s, uint64_t step);

/*
 * Warns of parts of the schedule that a run between steps `first` and `last`
 * does not use as configured: a cosine or onecycle schedule that ends before
 * the run (the rest trains at its last rate, about 0), a warmup longer than the
 * run, milestones after its end. One warning each.
 */
void schedule_warn(const struct schedule *s, uint64_t first, uint64_t last);

#endif
