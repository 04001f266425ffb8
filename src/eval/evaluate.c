/*
 * Evaluation: a static partition of batches over ranks, a dynamic one over the
 * threads of a rank, then a gather.
 *
 *  1. Rank r takes batches r, r + N, ... Its worker threads take them in turn
 *     from a shared counter. Each worker has its own net, with one thread; all
 *     nets share the read-only data of that of worker 0 (share_from).
 *  2. Rows are gathered on rank 0, put into data order and checked for values
 *     that are not finite. All ranks agree on the result of the check.
 *  3. Rank 0 sums in data order and broadcasts the summary.
 * Example: 11 images, B = 4, 2 ranks: rank 0 has batches 0 and 2 (images 0-3,
 * 8-10 and one padding), rank 1 has batch 1. Bits depend on B only.
 */
#include "eval/evaluate.h"

#include "base/alloc.h"
#include "base/memory.h"
#include "data/augment.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* One thread and its own net. */
struct worker {
    struct evaluator *owner;
    struct net *net;
    struct batch_item *items;
    uint8_t *memory;
    const uint8_t **pixels;
    struct result *results;
    pthread_t thread;
    enum vd_err err;
};

struct evaluator {
    struct backend *backend;
    struct net_spec spec;
    const struct shard_set *data;
    /* of the current evaluator_run() */
    struct comm *comm;
    struct worker *workers; /* owned */
    int n_workers;
    size_t first, stride, n_batches; /* this rank's: first, + stride, ... */
    pthread_mutex_t lock;
    size_t next;                 /* next batch of this rank not yet taken */
    struct eval_row *local_rows; /* [local batches, B]; padding: index -1 */
};

static enum vd_err worker_init(struct worker *w, struct evaluator *e)
{
    size_t n = (size_t)e->spec.micro_batch;
    size_t image_bytes = (size_t)e->data->width * (size_t)e->data->height * 3;
    w->owner = e;
    w->items = xcalloc(n, sizeof *w->items);
    w->pixels = xcalloc(n, sizeof *w->pixels);
    w->results = xcalloc(n, sizeof *w->results);
    VD_TRY(alloc_aligned((void **)&w->memory, n, image_bytes,
                         "evaluation images"));
    e->backend->ops->pin(e->backend, w->memory, n * image_bytes);
    struct net_spec spec = e->spec;
    spec.threads = 1;
    spec.share_from = e->workers[0].net; /* NULL for the first */
    return e->backend->ops->net_new(e->backend, &spec, &w->net);
}

static void worker_clear(struct worker *w, struct backend *b)
{
    if (w->net)
        b->ops->net_free(w->net);
    if (w->memory)
        b->ops->unpin(b, w->memory);
    alloc_aligned_free(w->memory);
    free(w->items);
    free(w->pixels);
    free(w->results);
}

struct evaluator *evaluator_new(struct backend *backend,
                                const struct net_spec *spec,
                                const struct shard_set *data)
{
    struct evaluator *e = xcalloc(1, sizeof *e);
    size_t B = (size_t)spec->micro_batch;
    e->backend = backend;
    e->spec = *spec;
    e->data = data;
    e->n_batches = (data->n_images + B - 1) / B;
    pthread_mutex_init(&e->lock, NULL);
    return e;
}

void evaluator_free(struct evaluator *e)
{
    if (!e)
        return;
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void evaluator_limit(struct evaluator *e, size_t n_batches)
{
    if (n_batches < e->n_batches)
        e->n_batches = n_batches;
}

static enum vd_err load_batch(struct worker *w, size_t batch)
{
    const struct shard_set *data = w->owner->data;
    size_t B = (size_t)w->owner->spec.micro_batch;
    size_t image_bytes = (size_t)data->width * (size_t)data->height * 3;
    for (size_t i = 0; i < B; i++) {
        size_t index = batch * B + i;
        const float padding_box[4] = {0, 0, 1, 1};
        bool is_image = index < data->n_images; /* else padding */
        w->items[i] =
            (struct batch_item){.position = index,
                                .index = is_image ? (int64_t)index : -1,
                                .class = is_image ? data->class[index] : 0};
        augment_draw(NULL, 0, data->width,
                     is_image ? &data->box[4 * index] : padding_box,
                     &w->items[i]);
        w->pixels[i] = is_image ? w->memory + i * image_bytes : NULL;
        if (is_image)
            VD_TRY(shard_set_read(data, index, w->memory + i * image_bytes));
    }
    return VD_OK;
}

static enum vd_err evaluate_batch(struct worker *w, size_t index)
{
    struct evaluator *e = w->owner;
    const struct backend_ops *ops = e->backend->ops;
    bool replayed = false;
    VD_TRY(load_batch(w, e->first + index * e->stride));
    struct batch batch = {.items = w->items, .pixels = w->pixels};
    VD_TRY(ops->stage(w->net, &batch));
    VD_TRY(ops->begin(w->net, 0, &replayed));
    VD_TRY(backend_end(e->backend, w->net,
                       replayed ? VD_OK : ops->forward(w->net)));
    VD_TRY(ops->results(w->net, w->results));
    if (w == e->workers) /* the main thread */
        comm_progress(e->comm);
    else
        comm_heartbeat(e->comm);
    size_t B = (size_t)e->spec.micro_batch;
    for (size_t i = 0; i < B; i++) {
        struct eval_row *row = &e->local_rows[index * B + i];
        *row = (struct eval_row){.index = w->items[i].index,
                                 .result = w->results[i]};
        if (row->index >= 0)
            eval_fill_metrics(e->data, row);
    }
    return VD_OK;
}

static void *worker_thread(void *ctx)
{
    struct worker *w = ctx;
    struct evaluator *e = w->owner;
    for (w->err = VD_OK; w->err == VD_OK;) {
        pthread_mutex_lock(&e->lock);
        size_t index = e->next++;
        pthread_mutex_unlock(&e->lock);
        if (e->first + index * e->stride >= e->n_batches)
            break;
        w->err = evaluate_batch(w, index);
    }
    return NULL;
}

/* Worker 0 runs on the calling thread. */
static enum vd_err run_workers(struct evaluator *e)
{
    enum vd_err err = VD_OK;
    int started = 1;
    e->next = 0;
    for (; started < e->n_workers; started++) {
        int cause = pthread_create(&e->workers[started].thread, NULL,
                                   worker_thread, &e->workers[started]);
        if (cause) {
            err = memory_raise_no_thread("evaluating", cause);
            break;
        }
    }
    worker_thread(&e->workers[0]);
    for (int i = 1; i < started; i++)
        pthread_join(e->workers[i].thread, NULL);
    for (int i = 0; i < started && err == VD_OK; i++)
        err = e->workers[i].err;
    return err;
}

static int count_workers(const struct evaluator *e, size_t n_local)
{
    int n = e->spec.threads, limit = e->backend->ops->max_eval_nets;
    if (limit > 0 && limit < n)
        n = limit;
    return n_local < (size_t)n ? (int)n_local : n;
}

/* Evaluates all batches of this rank. */
static enum vd_err evaluate_local_batches(struct evaluator *e, size_t n_local)
{
    enum vd_err err = VD_OK;
    e->n_workers = count_workers(e, n_local);
    e->workers = xcalloc((size_t)e->n_workers, sizeof *e->workers);
    for (int i = 0; i < e->n_workers && err == VD_OK; i++)
        err = worker_init(&e->workers[i], e);
    if (err == VD_OK && e->n_workers > 0)
        err = run_workers(e);
    for (int i = 0; i < e->n_workers; i++)
        worker_clear(&e->workers[i], e->backend);
    free(e->workers);
    return err;
}

/* Gathers the rows on rank 0 and puts them into data order by their index. */
static enum vd_err gather_rows(struct evaluator *e, struct comm *comm,
                               size_t n_local, struct eval_row *rows)
{
    void *all = NULL;
    size_t *sizes = xcalloc((size_t)comm->size, sizeof *sizes), total = 0;
    enum vd_err err = comm_gather(comm, SITE_EVAL, e->local_rows,
                                  n_local * sizeof *e->local_rows, &all, sizes);
    for (int r = 0; r < comm->size; r++)
        total += sizes[r];
    if (err == VD_OK && comm->rank == 0) {
        const struct eval_row *from = all;
        for (size_t i = 0; i < total / sizeof *from; i++)
            if (from[i].index >= 0)
                rows[from[i].index] = from[i];
    }
    alloc_aligned_free(all);
    free(sizes);
    return err;
}

static bool is_finite(const struct result *r)
{
    bool all = isfinite(r->score) && isfinite(r->l1) && isfinite(r->ce);
    for (int k = 0; k < 4; k++)
        all = all && isfinite(r->box[k]);
    return all;
}

/* Runs on rank 0, on rows in data order, so that the message is the same at any
 * number of ranks. */
static enum vd_err check_outputs(const struct evaluator *e,
                                 const struct eval_row *rows, size_t n)
{
    size_t first = n, bad = 0;
    for (size_t i = n; i > 0; i--) {
        if (is_finite(&rows[i - 1].result))
            continue;
        first = i - 1;
        bad++;
    }
    if (!bad)
        return VD_OK;
    const struct result *r = &rows[first].result;
    return VD_FAIL(
        VD_NUMERIC,
        "image %s: the network's outputs are not finite (score %g, box %g %g "
        "%g %g, cross entropy %g); %zu of %zu images have such outputs\n"
        "the network diverged: use an older checkpoint, or train again with a "
        "smaller --optim.lr",
        e->data->id[first], (double)r->score, (double)r->box[0],
        (double)r->box[1], (double)r->box[2], (double)r->box[3], (double)r->ce,
        bad, n);
}

static enum vd_err broadcast_summary(struct comm *comm, struct eval_summary *s)
{
    VD_TRY(comm_bcast(comm, SITE_EVAL, &s->means, sizeof s->means, 0));
    return comm_bcast(comm, SITE_EVAL, s->classes,
                      (size_t)s->n_classes * sizeof *s->classes, 0);
}

static enum vd_err summarize(const struct evaluator *e, struct comm *comm,
                             const struct eval_row *rows,
                             struct eval_summary *summary)
{
    size_t n = e->n_batches * (size_t)e->spec.micro_batch;
    n = n < e->data->n_images ? n : e->data->n_images;
    n = comm->rank == 0 ? n : 0;
    VD_TRY(comm_agree(comm, SITE_EVAL, check_outputs(e, rows, n)));
    eval_summarize(e->data, &e->spec.graph->loss, rows, n, summary);
    return broadcast_summary(comm, summary);
}

enum vd_err evaluator_run(struct evaluator *e, struct comm *comm,
                          struct eval_row *rows, struct eval_summary *summary)
{
    size_t B = (size_t)e->spec.micro_batch, n_local;
    e->comm = comm;
    e->first = (size_t)comm->rank;
    e->stride = (size_t)comm->size;
    n_local = e->n_batches > e->first
                  ? (e->n_batches - e->first + e->stride - 1) / e->stride
                  : 0;
    e->local_rows = xcalloc(n_local * B, sizeof *e->local_rows);
    enum vd_err err = evaluate_local_batches(e, n_local);
    err = comm_agree(comm, SITE_EVAL, err);
    if (err == VD_OK)
        err = gather_rows(e, comm, n_local * B, rows);
    if (err == VD_OK)
        err = summarize(e, comm, rows, summary);
    free(e->local_rows);
    e->local_rows = NULL;
    return err;
}
