/* The collective: its means are commands of the device's queue, its transport
 * is shared memory. */
#include "backend/deferred/deferred_collective.h"

#include "backend/deferred/deferred_calls.h"
#include "backend/deferred/deferred_device.h"
#include "backend/deferred/shared_means.h"
#include "base/alloc.h"

#include <stdlib.h>

static const char *collective_unavailable(void)
{
    return NULL;
}

static enum vd_err collective_make_id(struct backend *b,
                                      struct collective_id *id)
{
    (void)b;
    shared_means_make_id(id);
    return VD_OK;
}

static enum vd_err collective_open(const struct collective_spec *spec,
                                   struct collective **out)
{
    struct device *d = spec->backend->impl;
    struct collective *c = xcalloc(1, sizeof *c);
    *c = (struct collective){
        .net = spec->net,
        .partials = xcalloc((size_t)spec->n_partials, sizeof *c->partials)};
    for (int i = 0; i < spec->n_partials; i++)
        c->partials[i] = device_inner(d, spec->partials[i]).data;
    enum vd_err err =
        shared_means_open(&c->means, spec, spec->graph->n_exchange);
    if (err != VD_OK) {
        free(c->partials);
        free(c);
        return err;
    }
    *out = c;
    return VD_OK;
}

/* The lock: commands use c->means, too. */
static enum vd_err collective_state(struct collective *c, bool *ready)
{
    struct device *d = c->net->device;
    pthread_mutex_lock(&d->lock);
    enum vd_err err = shared_means_state(c->means, ready);
    if (d->err == VD_OK)
        d->err = err; /* the queue will not get past the mean in progress */
    pthread_mutex_unlock(&d->lock);
    return err;
}

static enum vd_err collective_mean(struct collective *c, struct range range)
{
    struct command one = {
        .call = CALL_MEAN, .net = c->net, .collective = c, .range = range};
    return deferred_enqueue(c->net, &one);
}

static enum vd_err collective_join(struct collective *c)
{
    struct command one = {.call = CALL_JOIN, .net = c->net, .collective = c};
    return deferred_enqueue(c->net, &one);
}

/* Commands that are left refer to `c`: they must not run. */
static void collective_close(struct collective *c)
{
    struct device *d = c->net->device;
    pthread_mutex_lock(&d->lock);
    VD_ASSERT(device_is_idle(d) || d->err != VD_OK);
    pthread_mutex_unlock(&d->lock);
    shared_means_close(c->means);
    free(c->partials);
    free(c);
}

const struct collective_ops deferred_collective_ops = {
    .unavailable = collective_unavailable,
    .make_id = collective_make_id,
    .open = collective_open,
    .state = collective_state,
    .mean = collective_mean,
    .join = collective_join,
    .close = collective_close};
