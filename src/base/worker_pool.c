/*
 * Invariant, with the lock held: n_released <= n_taken <= n_started <=
 * n_released + n_slots, where n_taken counts the calls of next(). So the slots
 * of the jobs [n_released, n_started) are all different, and a slot belongs to
 * its job's thread until it is done, then to the caller until it is released.
 *
 * Two conditions: `done` for the one caller, `released` for the threads. One
 * release makes one job ready to start, so it wakes one thread.
 */
#include "base/worker_pool.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct pool_slot {
    bool done;
    enum vd_err err;
    char *cause; /* first error message of the job, owned; NULL: none */
};

struct worker_pool {
    struct worker_pool_spec spec;
    pthread_t *threads; /* [n_threads] */
    int n_threads;      /* started */
    pthread_mutex_t lock;
    pthread_cond_t done, released;
    size_t n_started, n_taken, n_released; /* jobs */
    bool stopping;
    struct pool_slot *slots; /* [spec.n_slots] */
};

/* Keeps the first error message; all others are logged as usual. */
static void keep_job_error(void *ctx, enum log_level level, const char *message)
{
    struct pool_slot *s = ctx;
    if (level == LOG_LEVEL_ERROR && !s->cause) {
        s->cause = xstrdup(message);
        return;
    }
    struct log_sink sink = log_swap_sink((struct log_sink){0});
    log_at(level, "%s", message);
    (void)log_swap_sink(sink);
}

static enum vd_err run_pool_job(const struct worker_pool *p, size_t job,
                                struct pool_slot *s)
{
    log_set_sink(keep_job_error, s);
    enum vd_err err = p->spec.run(p->spec.ctx, job, (size_t)(s - p->slots));
    log_set_sink(NULL, NULL);
    if (err == VD_OK && s->cause) { /* not the job's error: no need to wait */
        log_error("%s", s->cause);
        free(s->cause);
        s->cause = NULL;
    }
    return err;
}

static void *pool_thread(void *ctx)
{
    struct worker_pool *p = ctx;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping && p->n_started < p->spec.n_jobs) {
        if (p->n_started - p->n_released >= p->spec.n_slots) {
            pthread_cond_wait(&p->released, &p->lock);
            continue;
        }
        size_t job = p->n_started++;
        struct pool_slot *s = &p->slots[job % p->spec.n_slots];
        pthread_mutex_unlock(&p->lock);
        enum vd_err err = run_pool_job(p, job, s);
        pthread_mutex_lock(&p->lock);
        s->err = err;
        s->done = true;
        pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static enum vd_err start_threads(struct worker_pool *p)
{
    for (; p->n_threads < p->spec.n_threads; p->n_threads++) {
        int cause =
            pthread_create(&p->threads[p->n_threads], NULL, pool_thread, p);
        if (cause && p->n_threads < p->spec.min_threads)
            return memory_raise_no_thread(p->spec.what, cause);
        if (cause)
            break;
    }
    return VD_OK;
}

enum vd_err worker_pool_new(struct worker_pool **out,
                            const struct worker_pool_spec *spec)
{
    VD_ASSERT(spec->min_threads > 0 && spec->n_threads >= spec->min_threads &&
              (spec->n_slots > 0 || spec->n_jobs == 0));
    struct worker_pool *p = xcalloc(1, sizeof *p);
    p->spec = *spec;
    p->threads = xcalloc((size_t)spec->n_threads, sizeof *p->threads);
    p->slots = xcalloc(spec->n_slots, sizeof *p->slots);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    pthread_cond_init(&p->released, NULL);
    enum vd_err err = start_threads(p);
    if (err == VD_OK)
        *out = p;
    else
        worker_pool_free(p);
    return err;
}

enum vd_err worker_pool_next(struct worker_pool *p, size_t *slot)
{
    VD_ASSERT(p->n_taken < p->spec.n_jobs &&
              p->n_taken - p->n_released < p->spec.n_slots);
    size_t i = p->n_taken % p->spec.n_slots;
    struct pool_slot *s = &p->slots[i];
    pthread_mutex_lock(&p->lock);
    while (!s->done)
        pthread_cond_wait(&p->done, &p->lock);
    p->n_taken++;
    pthread_mutex_unlock(&p->lock);
    if (s->cause)
        return VD_FAIL(s->err, "%s", s->cause);
    if (s->err == VD_OK)
        *slot = i;
    return s->err;
}

void worker_pool_release(struct worker_pool *p, size_t slot)
{
    pthread_mutex_lock(&p->lock);
    VD_ASSERT(p->n_released < p->n_taken &&
              slot == p->n_released % p->spec.n_slots);
    p->slots[slot].done = false;
    p->n_released++;
    pthread_cond_signal(&p->released);
    pthread_mutex_unlock(&p->lock);
}

void worker_pool_free(struct worker_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->released);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    for (size_t i = 0; i < p->spec.n_slots; i++)
        free(p->slots[i].cause);
    pthread_cond_destroy(&p->released);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p->slots);
    free(p->threads);
    free(p);
}
