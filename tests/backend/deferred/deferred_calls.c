/*
 * Calls that enqueue: capture, replay and comparison.
 *
 * Between begin and end a call is appended to net->now; outside it goes
 * straight to the device's queue. end() of a key
 *     1st step             stores net->now as the captured calls
 *     later, deferred      expects no calls, because begin reported a replay
 *     later, check         compares net->now with the captured calls
 * and always appends the captured calls to the queue.
 */
#include "backend/deferred/deferred_calls.h"

/* By member: padding bytes are undefined. */
static bool commands_equal(const struct command *a, const struct command *b)
{
    return a->call == b->call && a->net == b->net &&
           a->collective == b->collective && a->dst.data == b->dst.data &&
           a->src.data == b->src.data && a->range.first == b->range.first &&
           a->range.n == b->range.n && a->by == b->by;
}

static enum vd_err fail_call_differs(const struct net *net, size_t i)
{
    return VD_FAIL(VD_BUG,
                   "backend deferred: key %d: call %zu differs from the "
                   "captured step\n"
                   "pass values that change between steps through stage",
                   net->key, i);
}

static enum vd_err compare_captured(const struct net *net)
{
    const struct commands *now = &net->now, *was = &net->captured[net->key];
    for (size_t i = 0; i < now->n || i < was->n; i++)
        if (i >= now->n || i >= was->n ||
            !commands_equal(&now->list[i], &was->list[i]))
            return fail_call_differs(net, i);
    return VD_OK;
}

enum vd_err deferred_enqueue(struct net *net, const struct command *c)
{
    struct commands one = {.list = (struct command[]){*c}, .n = 1};
    if (net->key >= 0)
        commands_add(&net->now, c);
    else
        device_enqueue(net->device, &one);
    return VD_OK;
}

enum vd_err deferred_begin(struct net *net, int key, bool *replayed)
{
    VD_ASSERT(net->key < 0 && key >= 0 && key < MAX_KEYS);
    net->key = key;
    net->now.n = 0;
    *replayed = net->captured[key].n > 0 && !net->checks;
    device_count_capturing(net->device, 1);
    return VD_OK;
}

enum vd_err deferred_end(struct net *net)
{
    enum vd_err err = VD_OK;
    struct commands *captured = &net->captured[net->key];
    if (captured->n == 0)
        for (size_t i = 0; i < net->now.n; i++)
            commands_add(captured, &net->now.list[i]);
    else if (net->checks)
        err = compare_captured(net);
    else if (net->now.n > 0) /* calls in a replayed step */
        err = fail_call_differs(net, 0);
    device_enqueue(net->device, captured);
    device_count_capturing(net->device, -1);
    net->key = -1;
    return err;
}

void deferred_cancel(struct net *net)
{
    VD_ASSERT(net->key >= 0);
    net->now.n = 0;
    net->key = -1;
    device_count_capturing(net->device, -1);
}

enum vd_err deferred_forward(struct net *net)
{
    struct command c = {.call = CALL_FORWARD, .net = net};
    return deferred_enqueue(net, &c);
}

enum vd_err deferred_backward(struct net *net, struct buf *exchange,
                              ready_fn *ready, void *ctx)
{
    const struct graph *g = net->graph;
    struct command c = {.call = CALL_BACKWARD,
                        .net = net,
                        .dst = device_inner(net->device, exchange)};
    VD_TRY(deferred_enqueue(net, &c));
    VD_TRY(ready(ctx,
                 (struct range){.first = g->n_trainable, .n = g->n_stats + 1}));
    for (int i = 0; i < g->n_param_tensors; i++) {
        const struct graph_tensor *t = &g->params[i];
        if (t->trainable)
            VD_TRY(
                ready(ctx, (struct range){.first = t->offset, .n = t->count}));
    }
    return VD_OK;
}

enum vd_err deferred_add(struct net *net, struct buf *dst,
                         const struct buf *src, struct range range)
{
    struct command c = {.call = CALL_ADD,
                        .net = net,
                        .dst = device_inner(net->device, dst),
                        .src = device_inner(net->device, src),
                        .range = range};
    return deferred_enqueue(net, &c);
}

enum vd_err deferred_divide(struct net *net, struct buf *buf,
                            struct range range, float by)
{
    struct command c = {.call = CALL_DIVIDE,
                        .net = net,
                        .dst = device_inner(net->device, buf),
                        .range = range,
                        .by = by};
    return deferred_enqueue(net, &c);
}

enum vd_err deferred_update(struct net *net, struct buf *exchange)
{
    struct command c = {.call = CALL_UPDATE,
                        .net = net,
                        .dst = device_inner(net->device, exchange)};
    return deferred_enqueue(net, &c);
}
