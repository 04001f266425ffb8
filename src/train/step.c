/*
 * Launching replica by replica: wait for a staged batch, forward, backward into
 * an exchange buffer. After the backward pass of a replica other than the last,
 * its whole buffer is added along the reduction plan. During that of the last
 * replica, range_ready() is called for each range of gradients as it completes:
 * it adds the range to the partial sums, appends it to the current bucket, and
 * enqueues a full bucket. Then the step waits for the means and updates. All of
 * this only enqueues work if the backend computes asynchronously; collecting
 * polls until that work is done.
 *
 * An exchange with `in_step` is part of the work between begin and end of the
 * last replica (a device may capture and replay it); with any other, exchange
 * and update follow after that end.
 */
#include "train/step.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <stdlib.h>

enum vd_err step_init(struct step *s, struct comm *comm,
                      struct backend *backend, struct net *net,
                      const struct graph *graph, int replicas)
{
    *s = (struct step){.comm = comm,
                       .backend = backend,
                       .net = net,
                       .graph = graph,
                       .replicas = replicas};
    reduction_plan_init_rank(&s->plan, comm->rank, comm->size, replicas);
    s->buffers = xcalloc((size_t)s->plan.n_buffers, sizeof *s->buffers);
    s->partials = xcalloc((size_t)s->plan.n_partials, sizeof *s->partials);
    for (int i = 0; i < s->plan.n_buffers; i++)
        VD_TRY(
            backend->ops->alloc(backend, graph, BUF_EXCHANGE, &s->buffers[i]));
    for (int i = 0; i < s->plan.n_partials; i++)
        s->partials[i] = &s->buffers[s->plan.partial_buffer[i]];
    return VD_OK;
}

enum vd_err step_open_exchange(struct step *s, const char *exchange,
                               size_t bucket_elements)
{
    s->bucket_elements = bucket_elements;
    struct exchange_spec spec = {.comm = s->comm,
                                 .backend = s->backend,
                                 .net = s->net,
                                 .graph = s->graph,
                                 .replicas = s->replicas,
                                 .plan = &s->plan,
                                 .partials = s->partials};
    return exchange_open(&s->exchange, exchange, &spec);
}

void step_close(struct step *s)
{
    exchange_close(&s->exchange);
    for (int i = 0; s->buffers && i < s->plan.n_buffers; i++)
        s->backend->ops->free(s->backend, &s->buffers[i]);
    free(s->buffers);
    free(s->partials);
    free(s->sent);
    reduction_plan_clear(&s->plan);
    *s = (struct step){0};
}

static bool is_last(const struct step *s)
{
    return s->local_replica == s->plan.n_inputs - 1;
}

/* Performs the additions that follow replica `local_replica`, over `range`. */
static enum vd_err add_partials(struct step *s, struct range range)
{
    for (int k = s->plan.add_start[s->local_replica];
         k < s->plan.add_start[s->local_replica + 1]; k++)
        VD_TRY(s->backend->ops->add(s->net, &s->buffers[s->plan.adds[k].dst],
                                    &s->buffers[s->plan.adds[k].src], range));
    return VD_OK;
}

#define SENT_CHUNK 64 /* entries allocated at a time */

static void record_sent(struct step *s, struct range range)
{
    if (s->n_sent % SENT_CHUNK == 0)
        s->sent = xreallocarray(s->sent, (size_t)(s->n_sent + SENT_CHUNK),
                                sizeof *s->sent);
    s->sent[s->n_sent++] = range;
}

/* Splits the range into buckets, so that one is summed while the next one is in
 * flight. */
static enum vd_err enqueue_range(struct step *s, struct range range)
{
    if (s->times.first_exchange == 0)
        s->times.first_exchange = clock_now();
    size_t end = range.first + range.n;
    while (range.first < end) {
        size_t rest = end - range.first;
        range.n = rest < s->bucket_elements ? rest : s->bucket_elements;
        VD_TRY(s->exchange.ops->enqueue_mean(&s->exchange, range));
        record_sent(s, range);
        range.first += range.n;
    }
    return VD_OK;
}

static enum vd_err flush_bucket(struct step *s)
{
    struct range range = s->bucket;
    s->bucket.n = 0;
    return range.n > 0 ? enqueue_range(s, range) : VD_OK;
}

/* Backward of the last replica has completed `range`. */
static enum vd_err range_ready(void *ctx, struct range range)
{
    struct step *s = ctx;
    if (!is_last(s))
        return VD_OK;
    VD_TRY(add_partials(s, range));
    if (!s->exchange.in_step)
        return VD_OK;
    if (s->bucket.n > 0 && s->bucket.first + s->bucket.n != range.first)
        VD_TRY(flush_bucket(s));
    if (s->bucket.n == 0)
        s->bucket.first = range.first;
    s->bucket.n += range.n;
    if (s->bucket.n >= s->bucket_elements)
        VD_TRY(flush_bucket(s));
    return s->exchange.ops->test(&s->exchange);
}

static enum vd_err wait_exchange(struct step *s)
{
    VD_TRY(s->exchange.ops->wait_all(&s->exchange));
    s->times.exchange_s = clock_now() - s->times.backward_end;
    return VD_OK;
}

static enum vd_err update_weights(struct step *s)
{
    double start = clock_now();
    VD_TRY(s->backend->ops->update(s->net, s->partials[0]));
    s->times.update_s = clock_now() - start;
    return VD_OK;
}

static enum vd_err forward_backward(struct step *s, struct buf *exchange)
{
    const struct backend_ops *ops = s->backend->ops;
    double start = clock_now();
    VD_TRY(ops->forward(s->net));
    double middle = clock_now();
    s->times.last_backward = middle;
    VD_TRY(ops->backward(s->net, exchange, range_ready, s));
    if (!is_last(s))
        VD_TRY(add_partials(s, (struct range){.first = 0, .n = exchange->n}));
    s->times.backward_end = clock_now();
    s->times.forward_s += middle - start;
    s->times.backward_s += s->times.backward_end - middle;
    return VD_OK;
}

/* The work of one replica between begin and end. */
static enum vd_err enqueue_replica(struct step *s)
{
    s->n_sent = 0;
    VD_TRY(forward_backward(s, &s->buffers[s->plan.buffer[s->local_replica]]));
    if (!is_last(s) || !s->exchange.in_step)
        return VD_OK;
    VD_TRY(flush_bucket(s));
    VD_TRY(wait_exchange(s));
    return update_weights(s);
}

/* Exchange and update after the end of the last replica. */
static enum vd_err exchange_and_update(struct step *s)
{
    const struct backend_ops *ops = s->backend->ops;
    bool replayed = false;
    s->n_sent = 0;
    s->times.backward_end = clock_now();
    VD_TRY(
        enqueue_range(s, (struct range){.first = 0, .n = s->partials[0]->n}));
    VD_TRY(wait_exchange(s));
    VD_TRY(ops->begin(s->net, s->plan.n_inputs, &replayed));
    return backend_end(s->backend, s->net,
                       replayed ? VD_OK : update_weights(s));
}

/* A replayed step calls no exchange, so the site of the exchange is visited
 * here, before this rank takes part in it. */
static enum vd_err launch_replica(struct step *s)
{
    const struct backend_ops *ops = s->backend->ops;
    bool replayed = false;
    if (is_last(s))
        VD_TRY(fault_at(SITE_REDUCE, s->comm->rank));
    VD_TRY(ops->begin(s->net, s->local_replica, &replayed));
    return backend_end(s->backend, s->net,
                       replayed ? VD_OK : enqueue_replica(s));
}

enum vd_err step_launch(struct step *s, step_wait_fn *wait, void *ctx)
{
    s->times = (struct step_times){.begin = clock_now()};
    VD_TRY(fault_at(SITE_STEP, s->comm->rank));
    for (s->local_replica = 0; s->local_replica < s->plan.n_inputs;
         s->local_replica++) {
        VD_TRY(wait(ctx));
        VD_TRY(launch_replica(s));
        comm_progress(s->comm);
    }
    return s->exchange.in_step ? VD_OK : exchange_and_update(s);
}

static enum vd_err poll_done(void *ctx, bool *done)
{
    struct step *s = ctx;
    VD_TRY(s->exchange.ops->test(&s->exchange));
    return s->backend->ops->done(s->net, done);
}

enum vd_err step_collect(struct step *s, struct result *results,
                         int micro_batch, struct update_result *update)
{
    const struct backend_ops *ops = s->backend->ops;
    VD_TRY(comm_wait(s->comm, SITE_STEP, poll_done, s));
    for (int i = 0; i < s->plan.n_inputs; i++)
        VD_TRY(ops->results(s->net, results + i * micro_batch));
    VD_TRY(ops->update_result(s->net, update));
    comm_progress(s->comm);
    s->times.end = clock_now();
    return VD_OK;
}

static enum vd_err zero_partials(struct step *s)
{
    enum vd_err err = VD_OK;
    void *zeros = NULL;
    VD_TRY(
        alloc_aligned(&zeros, s->partials[0]->n, sizeof(float), "an exchange"));
    for (int i = 0; i < s->plan.n_partials; i++)
        VD_TRY_GOTO(
            out, err,
            s->backend->ops->put(s->backend, s->graph, s->partials[i], zeros));
out:
    alloc_aligned_free(zeros);
    return err;
}

static enum vd_err exchange_sent_ranges(struct step *s)
{
    for (int k = 0; k < s->n_sent; k++)
        VD_TRY(s->exchange.ops->enqueue_mean(&s->exchange, s->sent[k]));
    return s->exchange.ops->wait_all(&s->exchange);
}

/* For an exchange on the device: enqueues the ranges under a key of its own,
 * then waits for the device by reading a small buffer. */
static enum vd_err exchange_on_device(struct step *s)
{
    const struct backend_ops *ops = s->backend->ops;
    struct buf small = {.data = NULL};
    bool replayed = false;
    float *copy = xcalloc(s->graph->n_stats + 1, sizeof *copy);
    enum vd_err err;
    VD_TRY_GOTO(out, err, ops->alloc(s->backend, s->graph, BUF_STATS, &small));
    VD_TRY_GOTO(out, err, ops->begin(s->net, s->plan.n_inputs, &replayed));
    err = backend_end(s->backend, s->net,
                      replayed ? VD_OK : exchange_sent_ranges(s));
    if (err == VD_OK)
        err = ops->get(s->backend, s->graph, copy, &small);
out:
    ops->free(s->backend, &small);
    free(copy);
    return err;
}

enum vd_err step_time_exchange(struct step *s, double *seconds)
{
    bool on_device =
        s->exchange.in_step && !(s->backend->ops->caps & BACKEND_HOST_MEMORY);
    /* The values would shrink to denormal numbers, which are slow. */
    VD_TRY(comm_agree(s->comm, SITE_REDUCE, zero_partials(s)));
    double start = clock_now();
    VD_TRY(on_device ? exchange_on_device(s) : exchange_sent_ranges(s));
    *seconds = clock_now() - start;
    return VD_OK;
}
