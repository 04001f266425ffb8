/*
 * A ring of buffers filled by threads. Buffer i holds the micro-batches i,
 * i + n_buffers, ...; its states are free -> filling -> ready -> (handed out)
 * -> free. A thread takes the next micro-batch only if its buffer is free, so
 * at most n_buffers = threads + 2 micro-batches are in memory.
 *
 * Example with 1 thread, 3 buffers: the thread fills 0, 1 and 2 and waits;
 * loader_release() of 0 frees buffer 0, which the thread fills with 3.
 *
 * A read error is stored with its message and raised in loader_next() when its
 * micro-batch is due, so the first error in order is the one reported.
 */
#include "data/loader.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum buffer_state { BUFFER_FREE, BUFFER_FILLING, BUFFER_READY };

/* One buffer of the ring. */
struct batch_buffer {
    struct loaded_batch loaded; /* first member: loader_release() casts it */
    uint8_t *memory;            /* owned, the pixels of all images */
    enum buffer_state state;
    enum vd_err err;
    char cause[512]; /* message of err, raised when the micro-batch is due */
};

struct loader {
    struct loader_spec spec;
    size_t image_bytes;
    struct batch_buffer *buffers;
    size_t n_buffers;
    pthread_t *threads;
    int n_threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next_fill, next_out; /* micro-batches */
    bool stopping;
};

static enum vd_err fill_buffer(const struct loader *l, struct batch_buffer *p,
                               size_t k)
{
    l->spec.fill(l->spec.ctx, k, p->loaded.items);
    for (int i = 0; i < l->spec.micro_batch; i++) {
        size_t sample = (size_t)p->loaded.items[i].index;
        VD_TRY(shard_set_read(l->spec.data, sample, p->loaded.pixels[i]));
    }
    return VD_OK;
}

/* Keeps the first error message of this micro-batch instead of logging it. */
static void keep_batch_error(void *ctx, enum log_level level,
                             const char *message)
{
    struct batch_buffer *p = ctx;
    if (level == LOG_LEVEL_ERROR && !*p->cause)
        snprintf(p->cause, sizeof p->cause, "%s", message);
}

static void *loader_thread(void *ctx)
{
    struct loader *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping && l->next_fill < l->spec.n_batches) {
        struct batch_buffer *p = &l->buffers[l->next_fill % l->n_buffers];
        if (p->state != BUFFER_FREE) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        size_t k = l->next_fill++;
        p->state = BUFFER_FILLING;
        pthread_mutex_unlock(&l->lock);
        log_set_sink(keep_batch_error, p);
        enum vd_err err = fill_buffer(l, p, k);
        log_set_sink(NULL, NULL);
        pthread_mutex_lock(&l->lock);
        p->err = err;
        p->state = BUFFER_READY;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static enum vd_err alloc_buffer(struct loader *l, struct batch_buffer *p)
{
    size_t n = (size_t)l->spec.micro_batch;
    VD_TRY(alloc_aligned((void **)&p->memory, n, l->image_bytes,
                         "prefetched images"));
    p->loaded.items = xcalloc(n, sizeof *p->loaded.items);
    p->loaded.pixels = xcalloc(n, sizeof *p->loaded.pixels);
    for (size_t i = 0; i < n; i++)
        p->loaded.pixels[i] = p->memory + i * l->image_bytes;
    return VD_OK;
}

enum vd_err loader_new(struct loader **out, const struct loader_spec *spec)
{
    enum vd_err err = VD_OK;
    struct loader *l = xcalloc(1, sizeof *l);
    l->spec = *spec;
    l->image_bytes = (size_t)spec->data->width * (size_t)spec->data->height * 3;
    l->n_buffers = (size_t)spec->threads + 2;
    l->buffers = xcalloc(l->n_buffers, sizeof *l->buffers);
    l->threads = xcalloc((size_t)spec->threads, sizeof *l->threads);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    for (size_t i = 0; i < l->n_buffers; i++)
        VD_TRY_GOTO(fail, err, alloc_buffer(l, &l->buffers[i]));
    for (; l->n_threads < spec->threads; l->n_threads++) {
        pthread_t *thread = &l->threads[l->n_threads];
        int cause = pthread_create(thread, NULL, loader_thread, l);
        if (cause) {
            err = memory_raise_no_thread("prefetching", cause);
            goto fail;
        }
    }
    *out = l;
    return VD_OK;
fail:
    loader_free(l);
    return err;
}

enum vd_err loader_next(struct loader *l, struct loaded_batch **out)
{
    VD_ASSERT(l->next_out < l->spec.n_batches);
    struct batch_buffer *p = &l->buffers[l->next_out++ % l->n_buffers];
    pthread_mutex_lock(&l->lock);
    while (p->state != BUFFER_READY)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    if (p->err != VD_OK)
        return VD_FAIL(p->err, "%s", p->cause);
    *out = &p->loaded;
    return VD_OK;
}

void loader_release(struct loader *l, struct loaded_batch *batch)
{
    struct batch_buffer *p = (struct batch_buffer *)batch;
    pthread_mutex_lock(&l->lock);
    p->state = BUFFER_FREE;
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
    for (size_t i = 0; i < l->n_buffers; i++) {
        alloc_aligned_free(l->buffers[i].memory);
        free(l->buffers[i].loaded.items);
        free(l->buffers[i].loaded.pixels);
    }
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    free(l->buffers);
    free(l->threads);
    free(l);
}
