/* Bounded queue with one producer and one consumer. The producer fills its
 * buffer without the lock: n_staged still excludes it from the consumer. */
#include "backend/staging.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum vd_err staging_init(struct staging *p, const struct net_spec *spec,
                         size_t image_bytes)
{
    size_t n = (size_t)spec->micro_batch;
    *p = (struct staging){.spec = spec, .image_bytes = image_bytes};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->batch_released, NULL);
    for (int i = 0; i < STAGING_DEPTH; i++) {
        struct staged_batch *staged = &p->batches[i];
        staged->items = xcalloc(n, sizeof *staged->items);
        VD_TRY(alloc_aligned(&staged->input, n, image_bytes, "input images"));
    }
    return VD_OK;
}

void staging_clear(struct staging *p)
{
    for (int i = 0; i < STAGING_DEPTH; i++) {
        free(p->batches[i].items);
        alloc_aligned_free(p->batches[i].input);
    }
    pthread_cond_destroy(&p->batch_released);
    pthread_mutex_destroy(&p->lock);
}

void staging_push(struct staging *p, const struct batch *batch,
                  staging_prepare_fn *prepare)
{
    pthread_mutex_lock(&p->lock);
    while (p->n_staged - p->n_released == STAGING_DEPTH)
        pthread_cond_wait(&p->batch_released, &p->lock);
    struct staged_batch *staged = &p->batches[p->n_staged % STAGING_DEPTH];
    pthread_mutex_unlock(&p->lock);

    staged->scalars = batch->scalars;
    for (int i = 0; i < p->spec->micro_batch; i++) {
        char *input = (char *)staged->input + (size_t)i * p->image_bytes;
        staged->items[i] = batch->items[i];
        if (batch->items[i].index < 0)
            memset(input, 0, p->image_bytes);
        else
            prepare(p->spec, &batch->items[i], batch->pixels[i], input);
    }
    pthread_mutex_lock(&p->lock);
    p->n_staged++;
    pthread_mutex_unlock(&p->lock);
}

void staging_take(struct staging *p)
{
    pthread_mutex_lock(&p->lock);
    VD_ASSERT(p->n_taken < p->n_staged);
    p->n_released = p->n_taken++;
    pthread_cond_signal(&p->batch_released);
    pthread_mutex_unlock(&p->lock);
}

struct staged_batch *staging_current(struct staging *p)
{
    return &p->batches[(p->n_taken - 1) % STAGING_DEPTH];
}

void staging_release(struct staging *p)
{
    pthread_mutex_lock(&p->lock);
    p->n_released = p->n_taken;
    pthread_cond_signal(&p->batch_released);
    pthread_mutex_unlock(&p->lock);
}
