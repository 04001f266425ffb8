/*
 * A bounded producer-consumer pipeline: at most one staged micro-batch waits
 * for the consumer. The thread stages micro-batch k when k of them have been
 * taken. backend_ops.stage then waits at most for work that the consumer has
 * enqueued, which ends without the consumer, so the thread can be stopped.
 * `staged` and `taken` count micro-batches. An error of loading or staging ends
 * the thread and is returned when the consumer reaches that micro-batch.
 */
#include "train/prefetch.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "data/loader.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

struct prefetch {
    struct prefetch_spec spec;
    struct loader *loader;
    void *pinned; /* the loader's images */
    size_t n_batches;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;   /* for the thread: `taken` or `stopping` */
    size_t staged, taken;     /* micro-batches */
    double stage_s, staged_s; /* of the newest one; of all that were taken */
    enum vd_err err;
    bool stopping;
};

struct step_scalars prefetch_step_scalars(const struct prefetch_spec *spec,
                                          uint64_t step)
{
    double lr = schedule_lr(&spec->schedule, step);
    return (struct step_scalars){.seed = spec->seed,
                                 .step = step + 1,
                                 .lr = lr,
                                 .backbone_lr = lr * spec->backbone_lr_mult};
}

static uint64_t step_of(const struct prefetch_spec *spec, size_t k)
{
    return spec->first_step + k / (size_t)spec->n_replicas;
}

uint64_t prefetch_position(const struct prefetch_spec *spec, size_t k)
{
    uint64_t micro_batch = (uint64_t)spec->micro_batch;
    uint64_t step =
        spec->repeat_first_batch ? spec->first_step : step_of(spec, k);
    uint64_t replica =
        (uint64_t)spec->first_replica + k % (size_t)spec->n_replicas;
    return micro_batch * (step * (uint64_t)spec->replicas + replica);
}

void prefetch_fill(void *ctx, size_t k, struct batch_item *items)
{
    const struct prefetch_spec *spec = ctx;
    uint64_t first = prefetch_position(spec, k);
    for (int i = 0; i < spec->micro_batch; i++) {
        uint64_t position = first + (uint64_t)i;
        uint64_t index = sampler_at(&spec->sampler, position, NULL);
        items[i] = (struct batch_item){.position = position,
                                       .index = (int64_t)index,
                                       .class = spec->data->class[index]};
        augment_draw(&spec->augment, spec->seed, spec->data->width,
                     &spec->data->box[4 * index], &items[i]);
    }
}

static enum vd_err stage_next(struct prefetch *p, size_t k)
{
    struct loaded_batch *loaded = NULL;
    VD_TRY(loader_next(p->loader, &loaded));
    if (fault_nan(SITE_STEP, p->spec.rank))
        loaded->items[0].box[0] = NAN;
    struct batch batch = {
        .items = loaded->items,
        .pixels = (const uint8_t *const *)loaded->pixels,
        .scalars = prefetch_step_scalars(&p->spec, step_of(&p->spec, k)),
    };
    double start = clock_now();
    enum vd_err err = p->spec.backend->ops->stage(p->spec.net, &batch);
    p->stage_s = clock_now() - start; /* read after `staged` counts it */
    loader_release(p->loader, loaded);
    return err;
}

static void *prefetch_thread(void *ctx)
{
    struct prefetch *p = ctx;
    for (size_t k = 0; k < p->n_batches; k++) {
        pthread_mutex_lock(&p->lock);
        while (!p->stopping && k > p->taken)
            pthread_cond_wait(&p->changed, &p->lock);
        bool stop = p->stopping;
        pthread_mutex_unlock(&p->lock);
        if (stop)
            break;
        enum vd_err err = stage_next(p, k);
        pthread_mutex_lock(&p->lock);
        if (err == VD_OK)
            p->staged = k + 1;
        p->err = err;
        pthread_mutex_unlock(&p->lock);
        if (err != VD_OK)
            break;
    }
    return NULL;
}

static void pin_images(struct prefetch *p)
{
    size_t bytes;
    struct backend *b = p->spec.backend;
    p->pinned = loader_memory(p->loader, &bytes);
    b->ops->pin(b, p->pinned, bytes);
}

enum vd_err prefetch_new(struct prefetch **out,
                         const struct prefetch_spec *spec)
{
    enum vd_err err = VD_OK;
    struct prefetch *p = xcalloc(1, sizeof *p);
    p->spec = *spec;
    p->n_batches =
        (size_t)(spec->last_step - spec->first_step) * (size_t)spec->n_replicas;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    struct loader_spec loader = {.data = spec->data,
                                 .n_batches = p->n_batches,
                                 .micro_batch = spec->micro_batch,
                                 .threads = spec->loader_threads,
                                 .fill = prefetch_fill,
                                 .ctx = &p->spec};
    VD_TRY_GOTO(fail, err, loader_new(&p->loader, &loader));
    pin_images(p);
    int cause = pthread_create(&p->thread, NULL, prefetch_thread, p);
    if (cause) {
        err = memory_raise_no_thread("prefetching data", cause);
        goto fail;
    }
    p->started = true;
    *out = p;
    return VD_OK;
fail:
    prefetch_free(p);
    return err;
}

enum vd_err prefetch_take(struct prefetch *p, bool *taken)
{
    pthread_mutex_lock(&p->lock);
    *taken = p->staged > p->taken;
    enum vd_err err = *taken ? VD_OK : p->err;
    if (*taken) {
        p->taken++;
        p->staged_s += p->stage_s;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

double prefetch_staged_s(const struct prefetch *p)
{
    return p->staged_s;
}

void prefetch_free(struct prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->started)
        pthread_join(p->thread, NULL);
    if (p->pinned)
        p->spec.backend->ops->unpin(p->spec.backend, p->pinned);
    loader_free(p->loader);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}
