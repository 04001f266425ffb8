#include "preprocess/workers.h"

#include "base/worker_pool.h"

#include <sched.h>

static enum vd_err produce_item(void *ctx, size_t item, size_t slot)
{
    const struct workers *w = ctx;
    w->produce(w->ctx, item, slot);
    return VD_OK;
}

enum vd_err workers_run(const struct workers *w)
{
    enum vd_err err = VD_OK;
    struct worker_pool *pool = NULL;
    struct workers copy = *w;
    struct worker_pool_spec spec = {
        .what = "the images",
        .n_threads = w->n_threads,
        .min_threads = 1, /* with fewer threads: slower, the same result */
        .n_jobs = w->n_items,
        .n_slots = w->n_slots,
        .run = produce_item,
        .ctx = &copy};
    VD_TRY(worker_pool_new(&pool, &spec));
    for (size_t i = 0; i < w->n_items && err == VD_OK; i++) {
        size_t slot = 0;
        VD_TRY_GOTO(out, err, worker_pool_next(pool, &slot));
        if (w->consume)
            err = w->consume(w->ctx, i, slot);
        worker_pool_release(pool, slot);
    }
out:
    worker_pool_free(pool);
    return err;
}

int workers_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1; /* more than 1024 cores: needs -j */
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}
