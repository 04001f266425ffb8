#include "train/step.h"

#include "base/clock.h"
#include "base/mem.h"

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
    tree_plan_init_block(&s->plan, comm->rank, comm->size, replicas);
    s->buffers = mem_new((size_t)s->plan.n_buffers, sizeof *s->buffers);
    s->left = mem_new((size_t)s->plan.n_left, sizeof *s->left);
    for (int i = 0; i < s->plan.n_buffers; i++)
        VD_TRY(
            backend->ops->alloc(backend, graph, BUF_EXCHANGE, &s->buffers[i]));
    for (int i = 0; i < s->plan.n_left; i++)
        s->left[i] = &s->buffers[s->plan.left_buffer[i]];
    return VD_OK;
}

enum vd_err step_connect(struct step *s, const char *exchange)
{
    struct exchange_spec spec = {.comm = s->comm,
                                 .backend = s->backend,
                                 .net = s->net,
                                 .graph = s->graph,
                                 .replicas = s->replicas,
                                 .plan = &s->plan,
                                 .left = s->left};
    return exchange_open(&s->exchange, exchange, &spec);
}

void step_close(struct step *s)
{
    exchange_close(&s->exchange);
    for (int i = 0; s->buffers && i < s->plan.n_buffers; i++)
        s->backend->ops->free(s->backend, &s->buffers[i]);
    free(s->buffers);
    free(s->left);
    free(s->sent);
    tree_plan_clear(&s->plan);
    *s = (struct step){0};
}

static bool is_last(const struct step *s)
{
    return s->leaf == s->plan.n_inputs - 1;
}

/* All additions that replica `leaf` makes possible, over `range`. */
static enum vd_err add_up(struct step *s, struct range range)
{
    for (int k = s->plan.add_start[s->leaf]; k < s->plan.add_start[s->leaf + 1];
         k++)
        VD_TRY(s->backend->ops->add(s->net, &s->buffers[s->plan.adds[k].dst],
                                    &s->buffers[s->plan.adds[k].src], range));
    return VD_OK;
}

#define SENT_ROOM 64 /* is made at a time */

static void note_sent(struct step *s, struct range range)
{
    if (s->n_sent % SENT_ROOM == 0)
        s->sent =
            mem_grow(s->sent, (size_t)(s->n_sent + SENT_ROOM), sizeof *s->sent);
    s->sent[s->n_sent++] = range;
}

/* In pieces, so that one is added up while the next is on its way. */
static enum vd_err queue(struct step *s, struct range range)
{
    if (s->times.first_exchange == 0)
        s->times.first_exchange = clock_now();
    size_t end = range.first + range.n;
    while (range.first < end) {
        size_t rest = end - range.first;
        range.n = rest < EXCHANGE_BUCKET ? rest : EXCHANGE_BUCKET;
        VD_TRY(s->exchange.ops->mean(&s->exchange, range));
        note_sent(s, range);
        range.first += range.n;
    }
    return VD_OK;
}

static enum vd_err flush(struct step *s)
{
    struct range range = s->bucket;
    s->bucket.n = 0;
    return range.n > 0 ? queue(s, range) : VD_OK;
}

/* Backward of the last replica has completed `range`. */
static enum vd_err range_ready(void *ctx, struct range range)
{
    struct step *s = ctx;
    if (!is_last(s))
        return VD_OK;
    VD_TRY(add_up(s, range));
    if (!s->exchange.in_step)
        return VD_OK;
    if (s->bucket.n > 0 && s->bucket.first + s->bucket.n != range.first)
        VD_TRY(flush(s));
    if (s->bucket.n == 0)
        s->bucket.first = range.first;
    s->bucket.n += range.n;
    if (s->bucket.n >= EXCHANGE_BUCKET)
        VD_TRY(flush(s));
    return s->exchange.ops->poll(&s->exchange);
}

static enum vd_err settle(struct step *s)
{
    VD_TRY(s->exchange.ops->settle(&s->exchange));
    s->times.exchange_s = clock_now() - s->times.backward_end;
    return VD_OK;
}

static enum vd_err update_weights(struct step *s)
{
    double start = clock_now();
    VD_TRY(s->backend->ops->update(s->net, s->left[0]));
    s->times.update_s = clock_now() - start;
    return VD_OK;
}

static enum vd_err compute(struct step *s, struct buf *exchange)
{
    const struct backend_ops *ops = s->backend->ops;
    double start = clock_now();
    VD_TRY(ops->forward(s->net));
    double middle = clock_now();
    s->times.last_backward = middle;
    VD_TRY(ops->backward(s->net, exchange, range_ready, s));
    if (!is_last(s))
        VD_TRY(add_up(s, (struct range){.first = 0, .n = exchange->n}));
    s->times.backward_end = clock_now();
    s->times.forward_s += middle - start;
    s->times.backward_s += s->times.backward_end - middle;
    return VD_OK;
}

/* Everything that is enqueued for one replica, between begin and end. */
static enum vd_err enqueue(struct step *s)
{
    s->n_sent = 0;
    VD_TRY(compute(s, &s->buffers[s->plan.buffer[s->leaf]]));
    if (!is_last(s) || !s->exchange.in_step)
        return VD_OK;
    VD_TRY(flush(s));
    VD_TRY(settle(s));
    return update_weights(s);
}

/* The exchange and the update behind the last replica's end. */
static enum vd_err finish(struct step *s)
{
    const struct backend_ops *ops = s->backend->ops;
    bool replayed = false;
    s->n_sent = 0;
    s->times.backward_end = clock_now();
    VD_TRY(queue(s, (struct range){.first = 0, .n = s->left[0]->n}));
    VD_TRY(settle(s));
    VD_TRY(ops->begin(s->net, s->plan.n_inputs, &replayed));
    if (!replayed)
        VD_TRY(update_weights(s));
    return ops->end(s->net);
}

enum vd_err step_run(struct step *s, step_wait_fn *wait, void *ctx,
                     struct result *results, int micro_batch,
                     struct update_result *update)
{
    const struct backend_ops *ops = s->backend->ops;
    s->times = (struct step_times){.begin = clock_now()};
    VD_TRY(fault_at(SITE_STEP, s->comm->rank));
    for (s->leaf = 0; s->leaf < s->plan.n_inputs; s->leaf++) {
        bool replayed = false;
        VD_TRY(wait(ctx));
        VD_TRY(ops->begin(s->net, s->leaf, &replayed));
        if (!replayed)
            VD_TRY(enqueue(s));
        VD_TRY(ops->end(s->net));
        VD_TRY(ops->results(s->net, results + s->leaf * micro_batch));
        comm_progress(s->comm);
    }
    if (!s->exchange.in_step)
        VD_TRY(finish(s));
    VD_TRY(ops->update_result(s->net, update));
    s->times.end = clock_now();
    return VD_OK;
}

static enum vd_err clear_sums(struct step *s)
{
    enum vd_err err = VD_OK;
    void *zeros = NULL;
    VD_TRY(mem_alloc(&zeros, s->left[0]->n, sizeof(float), "an exchange"));
    for (int i = 0; i < s->plan.n_left; i++)
        VD_TRY_ELSE(
            out, err,
            s->backend->ops->put(s->backend, s->graph, s->left[i], zeros));
out:
    mem_free(zeros);
    return err;
}

enum vd_err step_time_exchange(struct step *s, double *seconds)
{
    const struct exchange_ops *ops = s->exchange.ops;
    /* Zeros: a mean of means of means would end in denormal numbers. */
    VD_TRY(comm_agree(s->comm, SITE_REDUCE, clear_sums(s)));
    double start = clock_now();
    for (int k = 0; k < s->n_sent; k++)
        VD_TRY(ops->mean(&s->exchange, s->sent[k]));
    VD_TRY(ops->settle(&s->exchange));
    *seconds = clock_now() - start;
    return VD_OK;
}
