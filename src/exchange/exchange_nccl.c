/*
 * Exchange nccl: wraps the collective of the backend's plugin
 * (backend/collective.h), which is NCCL for backend cuda. The means are part of
 * the captured step, so this file only sets the collective up and reports its
 * state; the host is not involved in a replayed step.
 *
 * Opening: rank 0 makes the id, all ranks get it and start to join, then each
 * polls until all have joined.
 */
#include "exchange/exchange_internal.h"

#include "backend/collective.h"
#include "base/log.h"
#include "comm/phase.h"

static const struct collective_ops *collective_ops(const struct exchange *x)
{
    return x->spec.backend->collective;
}

static enum vd_err nccl_test(struct exchange *x)
{
    bool ready = false;
    return collective_ops(x)->state(x->impl, &ready);
}

static enum vd_err nccl_enqueue_mean(struct exchange *x, struct range range)
{
    return collective_ops(x)->mean(x->impl, range);
}

static enum vd_err nccl_wait_all(struct exchange *x)
{
    return collective_ops(x)->join(x->impl);
}

/* Captured calls refer to the collective, so they are dropped first. */
static void nccl_close(struct exchange *x)
{
    const struct exchange_spec *spec = &x->spec;
    if (spec->backend->ops->release_workspace(spec->net) != VD_OK)
        log_debug("the device has failed; its captured steps are not dropped");
    collective_ops(x)->close(x->impl);
    x->impl = NULL;
}

/* ---- opening ---- */

/* Context of the phases of opening. */
struct opening {
    struct exchange *exchange;
    struct collective_id id;
};

static enum vd_err make_id(struct opening *o)
{
    struct exchange *x = o->exchange;
    enum vd_err err = VD_OK;
    if (x->spec.comm->rank == 0)
        err = collective_ops(x)->make_id(x->spec.backend, &o->id);
    VD_TRY(comm_agree(x->spec.comm, SITE_EXCHANGE, err));
    return comm_bcast(x->spec.comm, SITE_EXCHANGE, &o->id, sizeof o->id, 0);
}

static enum vd_err start_to_join(void *ctx)
{
    const struct opening *o = ctx;
    struct exchange *x = o->exchange;
    const struct exchange_spec *s = &x->spec;
    struct collective_spec spec = {.backend = s->backend,
                                   .net = s->net,
                                   .graph = s->graph,
                                   .partials = s->partials,
                                   .n_partials = s->plan->n_partials,
                                   .rank = s->comm->rank,
                                   .size = s->comm->size,
                                   .replicas = s->replicas,
                                   .id = o->id};
    struct collective *c = NULL;
    VD_TRY(collective_ops(x)->open(&spec, &c));
    x->impl = c;
    return VD_OK;
}

static enum vd_err poll_ready(void *ctx, bool *done)
{
    struct exchange *x = ctx;
    return collective_ops(x)->state(x->impl, done);
}

static enum vd_err nccl_open(struct exchange *x)
{
    struct comm *comm = x->spec.comm;
    struct opening o = {.exchange = x};
    x->in_step = true;
    VD_TRY(make_id(&o));
    enum vd_err err = comm_phase(comm, SITE_EXCHANGE, start_to_join, &o);
    if (err == VD_OK)
        err = comm_wait(comm, SITE_EXCHANGE, poll_ready, x);
    /* After an error that only this rank has, others may still join: closing
     * could wait for them. */
    if (err != VD_OK && x->impl && err == comm->agreed_err)
        nccl_close(x);
    return err;
}

const struct exchange_ops exchange_nccl = {
    .name = "nccl",
    .open = nccl_open,
    .close = nccl_close,
    .enqueue_mean = nccl_enqueue_mean,
    .test = nccl_test,
    .wait_all = nccl_wait_all,
};
