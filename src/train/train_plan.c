#include "train/train_plan.h"

#include "base/alloc.h"
#include "base/log.h"
#include "comm/cores.h"
#include "data/sampler.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum vd_err train_plan_resolve(struct option_set *options, const char *key,
                               const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    enum vd_err err = options_set(options, key, text, "resolved at the start");
    free(text);
    return err;
}

enum vd_err train_plan_take_start_options(struct train_plan *p,
                                          struct option_set *options,
                                          const struct config *config)
{
    p->stop_at = (uint64_t)config->train.stop_at;
    VD_TRY(options_set(options, "train.stop_at", "0", "taken by this start"));
    return options_set(options, "resume", "auto", "taken by this start");
}

/* ---- threads ---- */

#define FIXES_THREADS                                                      \
    "give --cpu.threads N at the first start of the run, which fixes the " \
    "number"

/* These two limits are not visible otherwise. */
static void warn_of_thread_limit(const struct cores_threads *mine)
{
    if (mine->limited_by_omp)
        log_warn("cpu.threads: auto is %d, not %d, by "
                 "OMP_NUM_THREADS\n" FIXES_THREADS,
                 mine->n, mine->share);
    else if (mine->quota.cpus > 0)
        log_warn("cpu.threads: auto is %d, not %d: the control group has a CPU "
                 "quota of %.3g for %d ranks here\n" FIXES_THREADS,
                 mine->n, mine->share, mine->quota.cpus, mine->quota_ranks);
}

enum vd_err train_plan_divide_cores(struct train_plan *p, struct comm *comm,
                                    const struct config *config)
{
    struct cores_threads mine = {.n = 1};
    VD_TRY(cores_explain_threads(comm, &mine));
    int *all = xcalloc((size_t)comm->size, sizeof *all), least = 0;
    enum vd_err err =
        comm_allgather(comm, SITE_CORES, &mine.n, sizeof mine.n, all);
    for (int r = 0; err == VD_OK && r < comm->size; r++)
        least = all[r] < all[least] ? r : least;
    p->compute_threads = all[least];
    p->loader_threads = mine.n;
    free(all);
    if (least == comm->rank && config->cpu.threads == CONFIG_AUTO)
        warn_of_thread_limit(&mine);
    return err;
}

/* ---- batch and steps ---- */

enum vd_err train_plan_resolve_batch(struct train_plan *p,
                                     struct option_set *options,
                                     const struct config *config, int n_ranks,
                                     size_t n_images)
{
    const struct config *c = config;
    VD_TRY(batch_resolve(c, n_ranks, (int64_t)n_images, &p->batch));
    VD_TRY(train_plan_resolve(options, "train.replicas", "%lld",
                              (long long)p->batch.replicas));
    VD_TRY(train_plan_resolve(options, "train.global_batch", "%lld",
                              (long long)p->batch.global_batch));
    VD_TRY(train_plan_resolve(options, "train.micro_batch", "%lld",
                              (long long)p->batch.micro_batch));
    if (c->cpu.threads == CONFIG_AUTO)
        VD_TRY(train_plan_resolve(options, "cpu.threads", "%d",
                                  p->compute_threads));
    p->compute_threads = (int)c->cpu.threads;
    if (c->data.loader_threads != CONFIG_AUTO)
        p->loader_threads = (int)c->data.loader_threads;
    if (c->model.freeze == FREEZE_AUTO)
        VD_TRY(train_plan_resolve(options, "model.freeze", "%s",
                                  *c->model.weights ? "backbone" : "none"));
    return VD_OK;
}

enum vd_err train_plan_resolve_steps(struct train_plan *p,
                                     struct option_set *options,
                                     const struct config *config,
                                     size_t n_images)
{
    uint64_t batch = (uint64_t)p->batch.global_batch;
    p->last_step =
        config->train.steps != CONFIG_AUTO
            ? (uint64_t)config->train.steps
            : sampler_steps(n_images, (uint64_t)config->train.epochs, batch);
    if (config->optim.schedule_steps == CONFIG_AUTO)
        VD_TRY(train_plan_resolve(options, "optim.schedule_steps", "%llu",
                                  (unsigned long long)p->last_step));
    return VD_OK;
}
