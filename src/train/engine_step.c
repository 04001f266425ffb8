/*
 * Runs steps. Prefetch stages one micro-batch for each of this rank's replicas;
 * step_launch() computes forward and backward of each, averages the gradients
 * over all ranks during the last backward pass, and updates the weights.
 * Whether the step is finite follows from the averaged gradient, so all ranks
 * agree without communication. The weights do not change in a step that is not
 * finite. Steps are launched ahead up to the depth of the backend: all ranks
 * launch the same steps, because that depends on counters and `until` only.
 */
#include "train/engine.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_NAMED  8    /* images of a rank in a message */
#define MAX_LISTED 2048 /* bytes of all ranks: limits the log line */

/* Images of this rank whose loss is not finite: "rank 1 (host): a, b". */
static void list_non_finite(const struct engine *e, uint64_t step,
                            struct text *out)
{
    int n = 0;
    for (int i = 0; i < e->n_local; i++) {
        if (isfinite(e->results[i].l1) && isfinite(e->results[i].ce))
            continue;
        if (n++ >= MAX_NAMED)
            continue;
        uint64_t index =
            engine_image_index(e, step - 1 - e->input.first_step, i);
        if (out->length)
            text_add(out, ", ");
        else
            text_add(out, "; rank %d (%s): ", e->comm->rank,
                     e->comm->hosts[e->comm->rank]);
        text_add(out, "%s", e->data->id[index]);
    }
    if (n > MAX_NAMED)
        text_add(out, " and %d more", n - MAX_NAMED);
}

/* A staging buffer may become free only after means that are in flight. */
static enum vd_err poll_staged(void *ctx, bool *done)
{
    struct engine *e = ctx;
    VD_TRY(e->step.exchange.ops->test(&e->step.exchange));
    return prefetch_take(e->prefetch, done);
}

/* The context of wait_staged(). */
struct input_wait {
    struct engine *engine;
    double seconds; /* spent waiting for prefetched data */
};

static enum vd_err wait_staged(void *ctx)
{
    struct input_wait *w = ctx;
    double start = clock_now();
    enum vd_err err =
        comm_wait(w->engine->comm, SITE_STEP, poll_staged, w->engine);
    w->seconds += clock_now() - start;
    return err;
}

uint64_t engine_last_launched(const struct engine *e)
{
    return e->input.first_step + e->launched;
}

/* Launches steps ahead, up to the depth of the backend. */
static enum vd_err launch_steps(struct engine *e, uint64_t until,
                                struct input_wait *wait)
{
    uint64_t depth = (uint64_t)e->backend.ops->depth;
    while (e->launched == e->collected || (e->launched - e->collected < depth &&
                                           engine_last_launched(e) < until)) {
        VD_TRY(step_launch(&e->step, wait_staged, wait));
        e->launched++;
    }
    return VD_OK;
}

/* Completes the steps in flight without using their results. */
static enum vd_err drain_steps(struct engine *e)
{
    struct update_result update;
    struct result *unused = xcalloc((size_t)e->n_local, sizeof *unused);
    enum vd_err err = VD_OK;
    for (; err == VD_OK && e->collected < e->launched; e->collected++)
        err = step_collect(&e->step, unused, e->input.micro_batch, &update);
    free(unused);
    return err;
}

/* On rank 0: `listed` are the images of all ranks, [bytes]. */
static enum vd_err report_non_finite(const struct engine *e, uint64_t step,
                                     const char *listed, size_t bytes)
{
    char row[64] = "";
    if (engine_is_fp16(e))
        snprintf(row, sizeof row, ", the last of %d such steps in a row",
                 ENGINE_MAX_NON_FINITE_IN_ROW);
    return VD_FAIL(VD_NUMERIC,
                   "step %llu: %s%s%.*s%s\n"
                   "start a run of another name with a smaller --optim.lr or "
                   "--optim.clip_norm 1%s; it can start from the last "
                   "checkpoint's weights (vocdist export, then "
                   "--model.weights)",
                   (unsigned long long)step,
                   bytes ? "the loss is not finite"
                         : "the gradient is not finite (all losses are)",
                   row, (int)(bytes < MAX_LISTED ? bytes : MAX_LISTED), listed,
                   bytes > MAX_LISTED ? "..." : "",
                   engine_is_fp16(e) ? ", or --train.precision fp32" : "");
}

/* Collective: rank 0 reports the images of all ranks; nothing of this step is
 * written to a file. */
static enum vd_err fail_non_finite(struct engine *e, uint64_t step)
{
    struct text mine = {0};
    void *all = NULL;
    size_t total = 0, *sizes = xcalloc((size_t)e->comm->size, sizeof *sizes);
    list_non_finite(e, step, &mine);
    enum vd_err err = drain_steps(e);
    if (err == VD_OK)
        err = comm_gather(e->comm, SITE_STEP, mine.bytes, mine.length, &all,
                          sizes);
    for (int r = 0; r < e->comm->size; r++)
        total += sizes[r];
    if (err == VD_OK)
        err = e->comm->rank == 0 ? report_non_finite(e, step, all, total)
                                 : VD_NUMERIC;
    alloc_aligned_free(all);
    free(sizes);
    free(mine.bytes);
    return err == VD_NUMERIC ? comm_agree(e->comm, SITE_STEP, err) : err;
}

static void log_skipped(const struct engine *e, uint64_t step, float scale)
{
    if (e->comm->rank == 0)
        log_info("step %llu: the gradient is not finite at loss scale %g: "
                 "skipped; the loss scale is halved",
                 (unsigned long long)step, (double)scale);
}

enum vd_err engine_step(struct engine *e, uint64_t until,
                        struct step_stats *done)
{
    struct update_result update = {0};
    struct input_wait wait = {.engine = e};
    uint64_t step = e->input.first_step + e->collected + 1;
    comm_enter(e->comm, SITE_STEP, (int64_t)step, e->config->timeout.step);
    /* A step in flight began at the latest when the last one was collected. */
    double begin = e->launched > e->collected ? e->last_collect : clock_now();
    VD_TRY(launch_steps(e, until, &wait));
    VD_TRY(step_collect(&e->step, e->results, e->input.micro_batch, &update));
    e->collected++;
    if (update.outcome == UPDATE_HALTED)
        return fail_non_finite(e, step);
    if (update.outcome == UPDATE_SKIPPED)
        log_skipped(e, step, update.loss_scale);
    e->last_collect = clock_now();
    *done = (struct step_stats){
        .step = step,
        .lr = schedule_lr(&e->input.schedule, step - 1),
        .grad_norm = update.grad_norm,
        .loss_scale = engine_is_fp16(e) ? (double)update.loss_scale : 0,
        .seconds = e->last_collect - begin,
        .waited_s = wait.seconds,
        .device_s = update.seconds};
    return VD_OK;
}
