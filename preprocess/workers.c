#include "preprocess/workers.h"

#include "base/alloc.h"
#include "base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct worker_pool {
    const struct workers *w;
    pthread_mutex_t lock;
    pthread_cond_t produced, consumed;
    size_t next;       /* item to begin */
    size_t n_consumed; /* items below are through */
    bool *ready;       /* [n_slots] */
    bool stop;
};

static void *worker_main(void *arg)
{
    struct worker_pool *r = arg;
    const struct workers *w = r->w;
    pthread_mutex_lock(&r->lock);
    while (!r->stop && r->next < w->n_items) {
        if (r->next >= r->n_consumed + w->n_slots) {
            pthread_cond_wait(&r->consumed, &r->lock);
            continue;
        }
        size_t item = r->next++, slot = item % w->n_slots;
        pthread_mutex_unlock(&r->lock);
        w->produce(w->ctx, item, slot);
        pthread_mutex_lock(&r->lock);
        r->ready[slot] = true;
        pthread_cond_signal(&r->produced);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static enum vd_err consume_in_order(struct worker_pool *r)
{
    const struct workers *w = r->w;
    enum vd_err err = VD_OK;
    for (size_t i = 0; i < w->n_items && err == VD_OK; i++) {
        size_t slot = i % w->n_slots;
        pthread_mutex_lock(&r->lock);
        while (!r->ready[slot])
            pthread_cond_wait(&r->produced, &r->lock);
        pthread_mutex_unlock(&r->lock);

        if (w->consume)
            err = w->consume(w->ctx, i, slot);

        pthread_mutex_lock(&r->lock);
        r->ready[slot] = false;
        r->n_consumed = i + 1;
        pthread_cond_broadcast(&r->consumed);
        pthread_mutex_unlock(&r->lock);
    }
    return err;
}

enum vd_err workers_run(const struct workers *w)
{
    VD_ASSERT(w->n_threads > 0 && w->n_slots > 0);
    enum vd_err err = VD_OK;
    struct worker_pool r = {.w = w};
    pthread_t *threads = xcalloc((size_t)w->n_threads, sizeof *threads);
    int n = 0;
    r.ready = xcalloc(w->n_slots, sizeof *r.ready);
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.produced, NULL);
    pthread_cond_init(&r.consumed, NULL);

    while (n < w->n_threads) {
        int cause = pthread_create(&threads[n], NULL, worker_main, &r);
        if (cause) {
            if (n == 0)
                err = memory_raise_no_thread("the images", cause);
            break; /* fewer threads: slower, the same result */
        }
        n++;
    }
    if (n > 0)
        err = consume_in_order(&r);

    pthread_mutex_lock(&r.lock);
    r.stop = true;
    pthread_cond_broadcast(&r.consumed);
    pthread_mutex_unlock(&r.lock);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&r.consumed);
    pthread_cond_destroy(&r.produced);
    pthread_mutex_destroy(&r.lock);
    free(r.ready);
    free(threads);
    return err;
}

int workers_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1; /* more than 1024 cores: -j says how many to use */
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}
