/* Micro-batch k is job k of an ordered worker pool; its images are read into
 * the buffer of the job's slot. */
#include "data/loader.h"

#include "base/alloc.h"
#include "base/worker_pool.h"

#include <stdlib.h>

struct batch_buffer {
    struct loaded_batch loaded; /* first member: loader_release() casts it */
    uint8_t *memory;            /* owned, the pixels of all images */
};

struct loader {
    struct loader_spec spec;
    size_t image_bytes;
    struct batch_buffer *buffers; /* [n_buffers], owned */
    size_t n_buffers;
    struct worker_pool *pool; /* owned */
};

static enum vd_err read_batch(void *ctx, size_t k, size_t slot)
{
    const struct loader *l = ctx;
    const struct loaded_batch *batch = &l->buffers[slot].loaded;
    l->spec.fill(l->spec.ctx, k, batch->items);
    for (int i = 0; i < l->spec.micro_batch; i++) {
        size_t image = (size_t)batch->items[i].index;
        VD_TRY(shard_set_read(l->spec.data, image, batch->pixels[i]));
    }
    return VD_OK;
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
    /* one per thread, one that the caller uses and one that is ready for it */
    l->n_buffers = (size_t)spec->threads + 2;
    l->buffers = xcalloc(l->n_buffers, sizeof *l->buffers);
    for (size_t i = 0; i < l->n_buffers; i++)
        VD_TRY_GOTO(fail, err, alloc_buffer(l, &l->buffers[i]));
    struct worker_pool_spec pool = {.what = "prefetching",
                                    .n_threads = spec->threads,
                                    .min_threads = spec->threads,
                                    .n_jobs = spec->n_batches,
                                    .n_slots = l->n_buffers,
                                    .run = read_batch,
                                    .ctx = l};
    VD_TRY_GOTO(fail, err, worker_pool_new(&l->pool, &pool));
    *out = l;
    return VD_OK;
fail:
    loader_free(l);
    return err;
}

enum vd_err loader_next(struct loader *l, struct loaded_batch **out)
{
    size_t slot = 0;
    VD_TRY(worker_pool_next(l->pool, &slot));
    *out = &l->buffers[slot].loaded;
    return VD_OK;
}

void loader_release(struct loader *l, struct loaded_batch *batch)
{
    const struct batch_buffer *p = (const struct batch_buffer *)batch;
    worker_pool_release(l->pool, (size_t)(p - l->buffers));
}

void loader_free(struct loader *l)
{
    if (!l)
        return;
    worker_pool_free(l->pool);
    for (size_t i = 0; i < l->n_buffers; i++) {
        alloc_aligned_free(l->buffers[i].memory);
        free(l->buffers[i].loaded.items);
        free(l->buffers[i].loaded.pixels);
    }
    free(l->buffers);
    free(l);
}
