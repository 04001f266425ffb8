/* Warnings about parts of a schedule that the run does not reach, or that end
 * before it. */
#include "base/log.h"
#include "train/schedule.h"

static const char *const names[] = {
    [SCHEDULE_CONSTANT] = "constant",
    [SCHEDULE_STEP] = "step",
    [SCHEDULE_COSINE] = "cosine",
    [SCHEDULE_ONECYCLE] = "onecycle",
};

static unsigned long long as_ull(uint64_t n)
{
    return (unsigned long long)n;
}

/* Steps whose rates differ: the schedule's, or the run's if that is shorter. */
static uint64_t steps_in_effect(const struct schedule *s, uint64_t last)
{
    return s->steps > 0 && s->steps < last ? s->steps : last;
}

static void warn_of_end(const struct schedule *s, uint64_t last)
{
    if (s->kind != SCHEDULE_COSINE && s->kind != SCHEDULE_ONECYCLE)
        return;
    if (s->steps > 0 && s->steps < last)
        log_warn("optim.schedule: %s ends at step %llu "
                 "(optim.schedule_steps), the run at step %llu: after that the "
                 "learning rate stays at %.3g, its peak is %.3g\n"
                 "give --optim.schedule_steps %llu",
                 names[s->kind], as_ull(s->steps), as_ull(last),
                 schedule_lr(s, last), s->lr, as_ull(last));
}

static void warn_of_warmup(const struct schedule *s, uint64_t first,
                           uint64_t last)
{
    uint64_t end = steps_in_effect(s, last);
    if (s->warmup <= end)
        return;
    log_warn("optim.warmup: %llu steps, but the %s ends at step %llu: the "
             "learning rate is %.3g there, its peak is %.3g\n"
             "give %s--optim.warmup %llu",
             as_ull(s->warmup), end < last ? "schedule" : "run", as_ull(end),
             schedule_lr(s, end - 1), s->lr,
             first > 0 ? "a run of another name " : "", as_ull(end / 10));
}

static void warn_of_milestones(const struct schedule *s, uint64_t last)
{
    uint64_t end = steps_in_effect(s, last);
    int n = s->kind == SCHEDULE_STEP ? s->n_milestones : 0, reached = 0;
    while (reached < n && (uint64_t)s->milestones[reached] < end)
        reached++;
    if (reached == n)
        return;
    if (end < last)
        log_warn("optim.milestones: %lld is not reached: the schedule ends at "
                 "step %llu (optim.schedule_steps), the run at step %llu\n"
                 "give --optim.schedule_steps %llu",
                 (long long)s->milestones[reached], as_ull(end), as_ull(last),
                 as_ull(last));
    else
        log_warn("optim.milestones: %lld is not reached: the run ends at step "
                 "%llu\n"
                 "give milestones below %llu, or more --train.epochs",
                 (long long)s->milestones[reached], as_ull(last), as_ull(last));
}

void schedule_warn(const struct schedule *s, uint64_t first, uint64_t last)
{
    if (first >= last)
        return;
    warn_of_end(s, last);
    warn_of_warmup(s, first, last);
    warn_of_milestones(s, last);
}
