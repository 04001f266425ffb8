/*
 * Backend `deferred`, a plugin for tests: ref behind an asynchronous queue with
 * capture and replay, like an accelerator. It makes a caller that breaks the
 * rules of backend.h fail on any machine:
 *
 *   - Calls that enqueue compute nothing. The work runs when a call waits
 *     (results, update_result, put, get, free, node_value, node_grad,
 *     release_workspace, net_free; stage, while both buffers are in use) or
 *     polls (done, a few commands at a time), never earlier: a caller that does
 *     not wait always reads old values.
 *   - Two steps may be in flight. results and update_result execute no more
 *     than what they return needs.
 *   - With fp16 only the range of that type is simulated: gradients beyond it
 *     become infinite, so the loss scale has to be right.
 *   - buf.data points to memory without access rights: touching it faults.
 *   - A mean of the collective (deferred_collective.c) is finished by the next
 *     one or by join: without join, update reads unfinished means. Until all
 *     ranks have enqueued it, nothing after it runs and no step is done.
 *   - `ready` is called while the work is captured, before any of it runs.
 *   - begin captures the calls of a key the first time and replays them later:
 *     a call or an argument that should differ from step to step does not.
 *   - While memory is pinned, stage takes pixels from pinned memory only; all
 *     is unpinned before close. DEFERRED_REQUIRES_PINNED in the environment: it
 *     always takes them from pinned memory.
 *   - One net of NET_EVAL exists at a time.
 *
 * `deferred-check` (DEFERRED_CHECKS true) does not replay. It compares every
 * later step with the captured one; a call that differs is VD_BUG.
 *
 * DEFERRED_DEVICES=N in the environment: the host has N devices, which are for
 * one rank each. Without it there is one that any number of ranks share.
 * DEFERRED_CALL_MS=N: every executed call takes N ms longer.
 *
 * It tunes (deferred_plan.h): every plan changes the bits of one gradient, so a
 * plan that is not used, or another one, shows in the weights.
 *
 * This file has the backend_ops, except for the calls that enqueue
 * (deferred_calls.c). Every call that waits executes commands of the device's
 * queue and then calls ref. put and get wait for the whole device, so no net
 * may be between begin and end. The calls of a net require this of that net
 * only.
 */
#include "backend/deferred/deferred_calls.h"
#include "backend/deferred/deferred_collective.h"
#include "backend/deferred/deferred_device.h"
#include "backend/deferred/deferred_plan.h"
#include "backend/plugin.h"
#include "backend/ref/ref.h"
#include "backend/staging.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <time.h>

#define COMMANDS_PER_POLL 16
#define POLL_NS           200000
#define MAX_EVAL_NETS     1
#define PRECISIONS        (1u << BACKEND_FP32 | 1u << BACKEND_FP16)

/* ---- the backend and its buffers ---- */

static enum vd_err deferred_open(struct backend *b,
                                 const struct backend_config *config)
{
    struct device *d;
    VD_ASSERT(PRECISIONS & 1u << config->precision);
    VD_TRY(device_open(&d, config));
    b->impl = d;
    return VD_OK;
}

static void deferred_close(struct backend *b)
{
    device_close(b->impl);
}

static const char *deferred_unavailable(void)
{
    return NULL;
}

static const char *deferred_describe(struct backend *b)
{
    (void)b;
    return "ref behind an asynchronous queue, for tests";
}

static const char *deferred_device_id(struct backend *b)
{
    const struct device *d = b->impl;
    return *d->id ? d->id : NULL;
}

static enum vd_err deferred_alloc(struct backend *b, const struct graph *g,
                                  enum buf_kind kind, struct buf *out)
{
    return device_alloc(b->impl, g, kind, out);
}

static void deferred_free(struct backend *b, struct buf *buf)
{
    struct device *d = b->impl;
    (void)!device_wait(d, NULL, NULL);
    pthread_mutex_unlock(&d->lock);
    device_free(d, buf);
}

static enum vd_err deferred_put(struct backend *b, const struct graph *g,
                                struct buf *dst, const float *src)
{
    struct device *d = b->impl;
    struct buf inner = device_inner(d, dst);
    VD_TRY(device_wait_idle(d));
    enum vd_err err = backend_ref_ops.put(&d->inner, g, &inner, src);
    pthread_mutex_unlock(&d->lock);
    return err;
}

static enum vd_err deferred_get(struct backend *b, const struct graph *g,
                                float *dst, const struct buf *src)
{
    struct device *d = b->impl;
    struct buf inner = device_inner(d, src);
    VD_TRY(device_wait_idle(d));
    enum vd_err err = backend_ref_ops.get(&d->inner, g, dst, &inner);
    pthread_mutex_unlock(&d->lock);
    return err;
}

static void deferred_pin(struct backend *b, void *memory, size_t bytes)
{
    device_pin(b->impl, memory, bytes);
}

static void deferred_unpin(struct backend *b, void *memory)
{
    device_unpin(b->impl, memory);
}

/* ---- nets ---- */

static enum vd_err deferred_net_new(struct backend *b,
                                    const struct net_spec *spec,
                                    struct net **out)
{
    struct device *d = b->impl;
    const struct weights *w = spec->weights;
    struct net_spec inner = *spec;
    unsigned variant;
    VD_TRY(backend_check_spec(spec));
    VD_TRY(deferred_plan_read(d, spec, &variant));
    struct net *net = xcalloc(1, sizeof *net);
    *net =
        (struct net){.device = d,
                     .graph = spec->graph,
                     .micro_batch = spec->micro_batch,
                     .max_unread = spec->max_unread > 0 ? spec->max_unread : 1,
                     .weights = {.param = device_inner(d, &w->param),
                                 .m = device_inner(d, &w->m),
                                 .v = device_inner(d, &w->v),
                                 .stats = device_inner(d, &w->stats),
                                 .scaler = device_inner(d, &w->scaler)},
                     .key = -1,
                     .variant = variant,
                     .checks = DEFERRED_CHECKS,
                     .trains = spec->mode == NET_TRAIN};
    if (!net->trains)
        VD_ASSERT(device_count_eval_nets(d, 1) <= MAX_EVAL_NETS);
    net->update_s = xcalloc((size_t)net->max_unread, sizeof *net->update_s);
    inner.weights = &net->weights;
    inner.share_from = NULL;
    inner.plan = NULL;
    enum vd_err err = backend_ref_ops.net_new(&d->inner, &inner, &net->inner);
    if (err != VD_OK) {
        if (!net->trains)
            device_count_eval_nets(d, -1);
        free(net->update_s);
        free(net);
        return err;
    }
    *out = net;
    return VD_OK;
}

static void deferred_net_free(struct net *net)
{
    if (!net)
        return;
    (void)!device_wait(net->device, NULL, NULL);
    pthread_mutex_unlock(&net->device->lock);
    for (int i = 0; i < MAX_KEYS; i++)
        commands_clear(&net->captured[i]);
    commands_clear(&net->now);
    backend_ref_ops.net_free(net->inner);
    free(net->update_s);
    if (!net->trains)
        device_count_eval_nets(net->device, -1);
    free(net);
}

static bool has_free_buffer(const struct net *net)
{
    return net->n_staged - net->n_released < STAGING_DEPTH;
}

/* A device computes without the host, so a buffer becomes free in time. Ref's
 * stage then does not block. */
static enum vd_err deferred_stage(struct net *net, const struct batch *batch)
{
    struct device *d = net->device;
    enum vd_err err = VD_OK;
    for (int i = 0; i < net->micro_batch; i++)
        if (batch->items[i].index >= 0)
            device_check_pinned(d, batch->pixels[i],
                                graph_node_count(&net->graph->nodes[0]));
    for (bool is_free = false; err == VD_OK && !is_free;) {
        err = device_wait(d, has_free_buffer, net);
        is_free = has_free_buffer(net);
        net->n_staged += is_free;
        pthread_mutex_unlock(&d->lock);
        if (!is_free)
            nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
    return err == VD_OK ? backend_ref_ops.stage(net->inner, batch) : err;
}

/* ---- calls that wait ---- */

/* Other nets may be between begin and end, this one may not. */
static enum vd_err net_wait_idle(struct net *net)
{
    VD_ASSERT(net->key < 0);
    enum vd_err err = device_wait(net->device, NULL, NULL);
    pthread_mutex_unlock(&net->device->lock);
    return err;
}

static bool has_result(const struct net *net)
{
    return net->n_forwards > net->n_forwards_read;
}

static bool has_update_result(const struct net *net)
{
    return net->n_updates > net->n_updates_read;
}

static enum vd_err deferred_done(struct net *net, bool *done)
{
    struct device *d = net->device;
    device_condition *condition = net->trains ? has_update_result : has_result;
    VD_ASSERT(net->key < 0);
    pthread_mutex_lock(&d->lock);
    *done = d->err == VD_OK && condition(net);
    for (int i = 0; !*done && i < COMMANDS_PER_POLL; i++)
        device_execute_one(d);
    enum vd_err err = d->err;
    pthread_mutex_unlock(&d->lock);
    return err;
}

static enum vd_err deferred_release_workspace(struct net *net)
{
    VD_TRY(net_wait_idle(net));
    for (int i = 0; i < MAX_KEYS; i++)
        commands_clear(&net->captured[i]);
    return backend_ref_ops.release_workspace(net->inner);
}

static enum vd_err deferred_results(struct net *net, struct result *out)
{
    VD_ASSERT(net->key < 0);
    enum vd_err err = device_wait(net->device, has_result, net);
    if (err == VD_OK) {
        err = backend_ref_ops.results(net->inner, out);
        net->n_forwards_read++;
    }
    pthread_mutex_unlock(&net->device->lock);
    return err;
}

static enum vd_err deferred_update_result(struct net *net,
                                          struct update_result *out)
{
    VD_ASSERT(net->key < 0);
    enum vd_err err = device_wait(net->device, has_update_result, net);
    if (err == VD_OK) {
        err = backend_ref_ops.update_result(net->inner, out);
        out->seconds =
            net->update_s[net->n_updates_read++ % (uint64_t)net->max_unread];
    }
    pthread_mutex_unlock(&net->device->lock);
    return err;
}

static enum vd_err deferred_node_value(struct net *net, int node, float *out)
{
    VD_TRY(net_wait_idle(net));
    return backend_ref_ops.node_value(net->inner, node, out);
}

static enum vd_err deferred_node_grad(struct net *net, int node, float *out)
{
    VD_TRY(net_wait_idle(net));
    return backend_ref_ops.node_grad(net->inner, node, out);
}

static const struct backend_ops deferred_ops = {
    .name = DEFERRED_NAME,
    .caps = BACKEND_CAPTURE | BACKEND_TUNES,
    .precisions = PRECISIONS,
    .depth = 2,
    .max_eval_nets = MAX_EVAL_NETS,
    .unavailable = deferred_unavailable,
    .open = deferred_open,
    .close = deferred_close,
    .describe = deferred_describe,
    .device_id = deferred_device_id,
    .alloc = deferred_alloc,
    .free = deferred_free,
    .put = deferred_put,
    .get = deferred_get,
    .pin = deferred_pin,
    .unpin = deferred_unpin,
    .tune = deferred_tune,
    .net_new = deferred_net_new,
    .net_free = deferred_net_free,
    .release_workspace = deferred_release_workspace,
    .stage = deferred_stage,
    .begin = deferred_begin,
    .forward = deferred_forward,
    .backward = deferred_backward,
    .add = deferred_add,
    .divide = deferred_divide,
    .update = deferred_update,
    .end = deferred_end,
    .cancel = deferred_cancel,
    .done = deferred_done,
    .results = deferred_results,
    .update_result = deferred_update_result,
    .node_value = deferred_node_value,
    .node_grad = deferred_node_grad};

VOCDIST_BACKEND_PLUGIN(&deferred_ops, &deferred_collective_ops);
