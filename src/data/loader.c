#include "data/loader.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum place_state { PLACE_FREE, PLACE_FILLING, PLACE_READY };

/* One micro-batch of the ring; place i holds k = i, i + n_places, ... */
struct place {
    struct loaded loaded; /* first, so that loader_done() finds its place */
    uint8_t *memory;      /* owned, all pictures */
    enum place_state state;
    enum vd_err err;
    char cause[512]; /* of err, said when this micro-batch's turn comes */
};

struct loader {
    struct loader_spec spec;
    size_t picture_bytes;
    struct place *places;
    size_t n_places;
    pthread_t *threads;
    int n_threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next_fill, next_out; /* k */
    bool stopping;
};

static enum vd_err fill_place(const struct loader *l, struct place *p, size_t k)
{
    l->spec.fill(l->spec.ctx, k, p->loaded.slots);
    for (int i = 0; i < l->spec.micro_batch; i++) {
        size_t sample = (size_t)p->loaded.slots[i].sample;
        VD_TRY(shard_set_read(l->spec.data, sample, p->loaded.pixels[i]));
    }
    return VD_OK;
}

/* Reading ahead may fail in any order; the first cause is kept for its turn. */
static void keep_cause(void *ctx, enum log_level level, const char *message)
{
    struct place *p = ctx;
    if (level == LOG_LEVEL_ERROR && !*p->cause)
        snprintf(p->cause, sizeof p->cause, "%s", message);
}

static void *read_ahead(void *ctx)
{
    struct loader *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping && l->next_fill < l->spec.n_batches) {
        struct place *p = &l->places[l->next_fill % l->n_places];
        if (p->state != PLACE_FREE) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        size_t k = l->next_fill++;
        p->state = PLACE_FILLING;
        pthread_mutex_unlock(&l->lock);
        log_divert(keep_cause, p);
        enum vd_err err = fill_place(l, p, k);
        log_divert(NULL, NULL);
        pthread_mutex_lock(&l->lock);
        p->err = err;
        p->state = PLACE_READY;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static enum vd_err make_place(struct loader *l, struct place *p)
{
    size_t n = (size_t)l->spec.micro_batch;
    VD_TRY(mem_alloc((void **)&p->memory, n, l->picture_bytes,
                     "pictures read ahead"));
    p->loaded.slots = mem_new(n, sizeof *p->loaded.slots);
    p->loaded.pixels = mem_new(n, sizeof *p->loaded.pixels);
    for (size_t i = 0; i < n; i++)
        p->loaded.pixels[i] = p->memory + i * l->picture_bytes;
    return VD_OK;
}

enum vd_err loader_new(struct loader **out, const struct loader_spec *spec)
{
    enum vd_err err = VD_OK;
    struct loader *l = mem_new(1, sizeof *l);
    l->spec = *spec;
    l->picture_bytes =
        (size_t)spec->data->width * (size_t)spec->data->height * 3;
    l->n_places = (size_t)spec->threads + 2;
    l->places = mem_new(l->n_places, sizeof *l->places);
    l->threads = mem_new((size_t)spec->threads, sizeof *l->threads);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    for (size_t i = 0; i < l->n_places; i++)
        VD_TRY_ELSE(fail, err, make_place(l, &l->places[i]));
    for (; l->n_threads < spec->threads; l->n_threads++) {
        pthread_t *thread = &l->threads[l->n_threads];
        int cause = pthread_create(thread, NULL, read_ahead, l);
        if (cause) {
            err = memory_no_thread("reading ahead", cause);
            goto fail;
        }
    }
    *out = l;
    return VD_OK;
fail:
    loader_free(l);
    return err;
}

enum vd_err loader_next(struct loader *l, struct loaded **out)
{
    VD_ASSERT(l->next_out < l->spec.n_batches);
    struct place *p = &l->places[l->next_out++ % l->n_places];
    pthread_mutex_lock(&l->lock);
    while (p->state != PLACE_READY)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    if (p->err != VD_OK)
        return VD_FAIL(p->err, "%s", p->cause);
    *out = &p->loaded;
    return VD_OK;
}

void loader_done(struct loader *l, struct loaded *batch)
{
    struct place *p = (struct place *)batch;
    pthread_mutex_lock(&l->lock);
    p->state = PLACE_FREE;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void loader_free(struct loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_threads; i++)
        pthread_join(l->threads[i], NULL);
    for (size_t i = 0; i < l->n_places; i++) {
        mem_free(l->places[i].memory);
        free(l->places[i].loaded.slots);
        free(l->places[i].loaded.pixels);
    }
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    free(l->places);
    free(l->threads);
    free(l);
}
