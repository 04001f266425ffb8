/* Exchange none, for one rank: its partial sum is the whole sum, and the device
 * divides it by the number of replicas. */
#include "exchange/exchange_internal.h"

static enum vd_err none_open(struct exchange *x)
{
    VD_ASSERT(x->spec.plan->n_partials == 1);
    x->in_step = true;
    return VD_OK;
}

static void none_close(struct exchange *x)
{
    (void)x;
}

static enum vd_err none_enqueue_mean(struct exchange *x, struct range range)
{
    const struct exchange_spec *spec = &x->spec;
    if (spec->replicas == 1)
        return VD_OK;
    return spec->backend->ops->divide(spec->net, spec->partials[0], range,
                                      (float)spec->replicas);
}

static enum vd_err none_complete(struct exchange *x)
{
    (void)x;
    return VD_OK;
}

const struct exchange_ops exchange_none = {
    .name = "none",
    .open = none_open,
    .close = none_close,
    .enqueue_mean = none_enqueue_mean,
    .test = none_complete,
    .wait_all = none_complete,
};
