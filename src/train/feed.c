#include "train/feed.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/memory.h"
#include "data/loader.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

struct feed {
    struct feed_spec spec;
    struct loader *loader;
    size_t n_batches;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t staged, taken;     /* micro-batches */
    double stage_s, staged_s; /* of the newest one; of all that were taken */
    enum vd_err err;
    bool stopping;
};

struct knobs feed_knobs(const struct feed_spec *spec, uint64_t step)
{
    double lr = schedule_lr(&spec->schedule, step);
    return (struct knobs){.seed = spec->seed,
                          .step = step + 1,
                          .lr = lr,
                          .backbone_lr = lr * spec->backbone_lr_mult};
}

static uint64_t step_of(const struct feed_spec *spec, size_t k)
{
    return spec->first_step + k / (size_t)spec->n_replicas;
}

uint64_t feed_position(const struct feed_spec *spec, size_t k)
{
    uint64_t micro_batch = (uint64_t)spec->micro_batch;
    uint64_t step = spec->repeat ? spec->first_step : step_of(spec, k);
    uint64_t replica =
        (uint64_t)spec->first_replica + k % (size_t)spec->n_replicas;
    return micro_batch * (step * (uint64_t)spec->replicas + replica);
}

void feed_fill(void *ctx, size_t k, struct slot *slots)
{
    const struct feed_spec *spec = ctx;
    uint64_t first = feed_position(spec, k);
    for (int i = 0; i < spec->micro_batch; i++) {
        uint64_t position = first + (uint64_t)i;
        uint64_t sample = sampler_at(&spec->sampler, position, NULL);
        slots[i] = (struct slot){.position = position,
                                 .sample = (int64_t)sample,
                                 .class = spec->data->class[sample]};
        augment_draw(&spec->augment, spec->seed, spec->data->width,
                     &spec->data->box[4 * sample], &slots[i]);
    }
}

static enum vd_err stage_next(struct feed *f, size_t k)
{
    struct loaded *loaded = NULL;
    VD_TRY(loader_next(f->loader, &loaded));
    if (fault_nan(SITE_STEP, f->spec.rank))
        loaded->slots[0].box[0] = NAN;
    struct batch batch = {
        .slots = loaded->slots,
        .pixels = (const uint8_t *const *)loaded->pixels,
        .knobs = feed_knobs(&f->spec, step_of(&f->spec, k)),
    };
    double start = clock_now();
    enum vd_err err = f->spec.backend->stage(f->spec.net, &batch);
    f->stage_s = clock_now() - start; /* read after `staged` counts it */
    loader_done(f->loader, loaded);
    return err;
}

static void *feed_thread(void *ctx)
{
    struct feed *f = ctx;
    for (size_t k = 0; k < f->n_batches; k++) {
        /* The net has two places, one of them at work; waiting here instead
         * of inside stage keeps the thread stoppable. */
        pthread_mutex_lock(&f->lock);
        while (!f->stopping && k > f->taken)
            pthread_cond_wait(&f->changed, &f->lock);
        bool stop = f->stopping;
        pthread_mutex_unlock(&f->lock);
        if (stop)
            break;
        enum vd_err err = stage_next(f, k);
        pthread_mutex_lock(&f->lock);
        if (err == VD_OK)
            f->staged = k + 1;
        f->err = err;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        if (err != VD_OK)
            break;
    }
    return NULL;
}

enum vd_err feed_new(struct feed **out, const struct feed_spec *spec)
{
    enum vd_err err = VD_OK;
    struct feed *f = mem_new(1, sizeof *f);
    f->spec = *spec;
    f->n_batches =
        (size_t)(spec->last_step - spec->first_step) * (size_t)spec->n_replicas;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    struct loader_spec loader = {.data = spec->data,
                                 .n_batches = f->n_batches,
                                 .micro_batch = spec->micro_batch,
                                 .threads = spec->loader_threads,
                                 .fill = feed_fill,
                                 .ctx = &f->spec};
    VD_TRY_ELSE(fail, err, loader_new(&f->loader, &loader));
    int cause = pthread_create(&f->thread, NULL, feed_thread, f);
    if (cause) {
        err = memory_no_thread("feeding the network", cause);
        goto fail;
    }
    f->started = true;
    *out = f;
    return VD_OK;
fail:
    feed_free(f);
    return err;
}

enum vd_err feed_wait(struct feed *f, double *waited_s)
{
    double start = clock_now();
    pthread_mutex_lock(&f->lock);
    while (f->staged <= f->taken && f->err == VD_OK)
        pthread_cond_wait(&f->changed, &f->lock);
    enum vd_err err = f->staged > f->taken ? VD_OK : f->err;
    f->taken++;
    f->staged_s += f->stage_s;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    *waited_s += clock_now() - start;
    return err;
}

double feed_staged_s(const struct feed *f)
{
    return f->staged_s;
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (f->started)
        pthread_join(f->thread, NULL);
    loader_free(f->loader);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}
