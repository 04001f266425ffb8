/* Micro-batch k is job k of an ordered worker pool; its images are read into
 * the buffer of the job's slot. */
#include "data/loader.h"

#include "base/alloc.h"
#include "base/worker_pool.h"

#include <stdlib.h>

struct loader {
    struct loader_spec spec;
    size_t image_bytes;
    struct loaded_batch *batches; /* [n_buffers], owned */
    uint8_t *memory;              /* [n_buffers, micro_batch] images, owned */
    size_t n_buffers;
    struct worker_pool *pool; /* owned */
};

static enum vd_err read_batch(void *ctx, size_t k, size_t slot)
{
    const struct loader *l = ctx;
    const struct loaded_batch *batch = &l->batches[slot];
    l->spec.fill(l->spec.ctx, k, batch->items);
    for (int i = 0; i < l->spec.micro_batch; i++) {
        size_t image = (size_t)batch->items[i].index;
        VD_TRY(shard_set_read(l->spec.data, image, batch->pixels[i]));
    }
    return VD_OK;
}

static enum vd_err alloc_buffers(struct loader *l)
{
    size_t n = (size_t)l->spec.micro_batch;
    VD_TRY(alloc_aligned((void **)&l->memory, n * l->n_buffers, l->image_bytes,
                         "prefetched images"));
    for (size_t k = 0; k < l->n_buffers; k++) {
        struct loaded_batch *batch = &l->batches[k];
        batch->items = xcalloc(n, sizeof *batch->items);
        batch->pixels = xcalloc(n, sizeof *batch->pixels);
        for (size_t i = 0; i < n; i++)
            batch->pixels[i] = l->memory + (k * n + i) * l->image_bytes;
    }
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
    l->batches = xcalloc(l->n_buffers, sizeof *l->batches);
    VD_TRY_GOTO(fail, err, alloc_buffers(l));
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

void *loader_memory(const struct loader *l, size_t *bytes)
{
    *bytes = l->n_buffers * (size_t)l->spec.micro_batch * l->image_bytes;
    return l->memory;
}

enum vd_err loader_next(struct loader *l, struct loaded_batch **out)
{
    size_t slot = 0;
    VD_TRY(worker_pool_next(l->pool, &slot));
    *out = &l->batches[slot];
    return VD_OK;
}

void loader_release(struct loader *l, struct loaded_batch *batch)
{
    worker_pool_release(l->pool, (size_t)(batch - l->batches));
}

void loader_free(struct loader *l)
{
    if (!l)
        return;
    worker_pool_free(l->pool);
    for (size_t i = 0; i < l->n_buffers; i++) {
        free(l->batches[i].items);
        free(l->batches[i].pixels);
    }
    alloc_aligned_free(l->memory);
    free(l->batches);
    free(l);
}
