/*
 * The simulated device.
 *
 * A buffer is a mapping without access rights (the address that the host sees)
 * and ref's buffer (the values); d->memories maps one to the other. Commands
 * are queued in the order of the calls, executed in that order by whichever
 * thread waits, and stop at the first error. device_wait() returns with the
 * lock, so that put and get copy before another thread executes more commands.
 *
 * A mean is executed as late as a device may: MEAN gives this rank's partial
 * sums to the others, and is finished by the next MEAN or JOIN. These two stay
 * at the head of the queue until the partial sums of all ranks are there.
 */
#include "backend/deferred/deferred_device.h"

#include "backend/deferred/deferred_plan.h"
#include "backend/deferred/shared_means.h"
#include "backend/ref/ref.h"
#include "base/alloc.h"
#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BLOCKED_NS 200000 /* between two looks at a blocked queue */

enum vd_err device_open(struct device **out,
                        const struct backend_config *config)
{
    struct device *d = xcalloc(1, sizeof *d);
    const char *devices = getenv("DEFERRED_DEVICES");
    const char *call_ms = getenv("DEFERRED_CALL_MS");
    if (devices)
        snprintf(d->id, sizeof d->id, "device-%d",
                 config->local_rank % atoi(devices));
    d->inner.ops = &backend_ref_ops;
    d->requires_pinned = getenv("DEFERRED_REQUIRES_PINNED") != NULL;
    d->call_ms = call_ms ? atoi(call_ms) : 0;
    d->is_fp16 = config->precision == BACKEND_FP16;
    pthread_mutex_init(&d->lock, NULL);
    *out = d;
    return backend_ref_ops.open(&d->inner, config);
}

void device_close(struct device *d)
{
    VD_ASSERT(!d->memories && !d->pinned);
    commands_clear(&d->queue);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- memory ---- */

static struct device_memory *find_device_memory(struct device *d,
                                                const struct buf *buf)
{
    pthread_mutex_lock(&d->lock);
    struct device_memory *m = d->memories;
    while (m && m->guard != buf->data)
        m = m->next;
    pthread_mutex_unlock(&d->lock);
    VD_ASSERT(m);
    return m;
}

struct buf device_inner(struct device *d, const struct buf *buf)
{
    return find_device_memory(d, buf)->inner;
}

static size_t guard_bytes(const struct device_memory *m)
{
    return (m->inner.n + 1) * sizeof(float);
}

enum vd_err device_alloc(struct device *d, const struct graph *g,
                         enum buf_kind kind, struct buf *out)
{
    struct device_memory *m = xcalloc(1, sizeof *m);
    enum vd_err err = backend_ref_ops.alloc(&d->inner, g, kind, &m->inner);
    if (err != VD_OK) {
        free(m);
        return err;
    }
    m->guard = mmap(NULL, guard_bytes(m), PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    VD_ASSERT(m->guard != MAP_FAILED);
    *out = (struct buf){kind, m->guard, m->inner.n};
    pthread_mutex_lock(&d->lock);
    m->next = d->memories;
    d->memories = m;
    pthread_mutex_unlock(&d->lock);
    return VD_OK;
}

void device_free(struct device *d, struct buf *buf)
{
    if (!buf->data)
        return;
    struct device_memory *m = find_device_memory(d, buf);
    pthread_mutex_lock(&d->lock);
    struct device_memory **at = &d->memories;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    pthread_mutex_unlock(&d->lock);
    munmap(m->guard, guard_bytes(m));
    backend_ref_ops.free(&d->inner, &m->inner);
    free(m);
    *buf = (struct buf){.data = NULL};
}

/* ---- pinned memory ---- */

/* With d->lock held: the link to the range at `memory`, or to the end. */
static struct pinned_range **find_pinned(struct device *d, const void *memory)
{
    struct pinned_range **at = &d->pinned;
    while (*at && (*at)->memory != memory)
        at = &(*at)->next;
    return at;
}

void device_pin(struct device *d, const void *memory, size_t bytes)
{
    struct pinned_range *range = xcalloc(1, sizeof *range);
    pthread_mutex_lock(&d->lock);
    struct pinned_range **at = find_pinned(d, memory);
    VD_ASSERT(!*at);
    *range = (struct pinned_range){.memory = memory, .bytes = bytes};
    *at = range;
    pthread_mutex_unlock(&d->lock);
}

void device_unpin(struct device *d, const void *memory)
{
    pthread_mutex_lock(&d->lock);
    struct pinned_range **at = find_pinned(d, memory), *range = *at;
    VD_ASSERT(range);
    *at = range->next;
    pthread_mutex_unlock(&d->lock);
    free(range);
}

void device_check_pinned(struct device *d, const uint8_t *pixels, size_t bytes)
{
    pthread_mutex_lock(&d->lock);
    bool is_pinned = !d->pinned && !d->requires_pinned;
    for (const struct pinned_range *r = d->pinned; r; r = r->next)
        is_pinned = is_pinned || (pixels >= r->memory &&
                                  pixels + bytes <= r->memory + r->bytes);
    pthread_mutex_unlock(&d->lock);
    VD_ASSERT(is_pinned);
}

/* ---- the queue ---- */

void commands_add(struct commands *c, const struct command *one)
{
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 16;
        struct command *list = xcalloc(capacity, sizeof *list);
        if (c->n > 0)
            memcpy(list, c->list, c->n * sizeof *list);
        free(c->list);
        c->list = list;
        c->capacity = capacity;
    }
    c->list[c->n++] = *one;
}

void commands_clear(struct commands *c)
{
    free(c->list);
    *c = (struct commands){.list = NULL};
}

void device_enqueue(struct device *d, const struct commands *c)
{
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < c->n; i++)
        commands_add(&d->queue, &c->list[i]);
    pthread_mutex_unlock(&d->lock);
}

void device_count_capturing(struct device *d, int change)
{
    pthread_mutex_lock(&d->lock);
    d->n_capturing += change;
    pthread_mutex_unlock(&d->lock);
}

int device_count_eval_nets(struct device *d, int change)
{
    pthread_mutex_lock(&d->lock);
    int n = d->n_eval_nets += change;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static enum vd_err ignore_range(void *ctx, struct range range)
{
    (void)ctx;
    (void)range;
    return VD_OK;
}

/* As backend_ops.stage: when a staged batch has been read. */
static void count_executed(struct net *net, enum call call)
{
    if (call == CALL_FORWARD)
        net->n_released = net->n_forwards++;
    if (call == CALL_BACKWARD || (call == CALL_FORWARD && !net->trains))
        net->n_released = net->n_forwards;
    if (call == CALL_UPDATE)
        net->n_updates++;
}

#define FP16_MAX 65504.0f

static enum vd_err execute_backward(struct command *c)
{
    VD_TRY(
        backend_ref_ops.backward(c->net->inner, &c->dst, ignore_range, NULL));
    for (size_t i = 0;
         c->net->device->is_fp16 && i < c->net->graph->n_trainable; i++)
        if (fabsf(c->dst.data[i]) > FP16_MAX)
            c->dst.data[i] = copysignf(INFINITY, c->dst.data[i]);
    deferred_plan_apply(c->net->variant, c->net->graph, c->dst.data);
    return VD_OK;
}

/* MEAN and JOIN finish the mean in progress first. *can_run is false while it
 * waits for the partial sums of other ranks. */
static enum vd_err finish_mean_before(const struct command *c, bool *can_run)
{
    struct collective *x = c->collective;
    *can_run = true;
    if ((c->call != CALL_MEAN && c->call != CALL_JOIN) ||
        !shared_means_in_progress(x->means))
        return VD_OK;
    return shared_means_finish(x->means, x->partials[0], can_run);
}

static enum vd_err execute_command(struct command *c)
{
    struct net *inner = c->net->inner;
    count_executed(c->net, c->call);
    switch (c->call) {
    case CALL_FORWARD:
        return backend_ref_ops.forward(inner);
    case CALL_BACKWARD:
        return execute_backward(c);
    case CALL_ADD:
        return backend_ref_ops.add(inner, &c->dst, &c->src, c->range);
    case CALL_DIVIDE:
        return backend_ref_ops.divide(inner, &c->dst, c->range, c->by);
    case CALL_MEAN:
        shared_means_start(c->collective->means, c->collective->partials,
                           c->range);
        return VD_OK;
    case CALL_JOIN:
        return VD_OK;
    case CALL_UPDATE:
        return backend_ref_ops.update(inner, &c->dst);
    }
    return VD_BUG;
}

/* Only the work counts: a device does not stop while the host does not poll. */
static enum vd_err execute_timed(struct command *c)
{
    struct net *net = c->net;
    double start = clock_now();
    struct timespec longer = {.tv_nsec = net->device->call_ms * 1000000L};
    if (longer.tv_nsec > 0)
        nanosleep(&longer, NULL);
    enum vd_err err = execute_command(c);
    net->seconds += clock_now() - start;
    if (c->call == CALL_UPDATE) {
        net->update_s[(net->n_updates - 1) % (uint64_t)net->max_unread] =
            net->seconds;
        net->seconds = 0;
    }
    return err;
}

bool device_is_idle(const struct device *d)
{
    return d->n_executed == d->queue.n;
}

bool device_execute_one(struct device *d)
{
    bool can_run;
    if (d->err != VD_OK || device_is_idle(d))
        return false;
    d->err = finish_mean_before(&d->queue.list[d->n_executed], &can_run);
    if (d->err != VD_OK || !can_run)
        return false;
    d->err = execute_timed(&d->queue.list[d->n_executed++]);
    if (d->n_executed == d->queue.n)
        d->n_executed = d->queue.n = 0;
    return true;
}

enum vd_err device_wait(struct device *d, device_condition *condition,
                        const struct net *net)
{
    pthread_mutex_lock(&d->lock);
    while (!(condition && condition(net))) {
        if (device_execute_one(d))
            continue;
        if (d->err != VD_OK || device_is_idle(d))
            break;
        pthread_mutex_unlock(&d->lock);
        nanosleep(&(struct timespec){.tv_nsec = BLOCKED_NS}, NULL);
        pthread_mutex_lock(&d->lock);
    }
    return d->err;
}

enum vd_err device_wait_idle(struct device *d)
{
    enum vd_err err = device_wait(d, NULL, NULL);
    if (err == VD_OK && d->n_capturing > 0)
        err = VD_FAIL(VD_BUG,
                      "backend deferred: put or get between begin and end\n"
                      "call it after end");
    if (err != VD_OK)
        pthread_mutex_unlock(&d->lock);
    return err;
}
