/* The registry of exchanges: looks one up by name and opens it. */
#include "exchange/exchange.h"

#include "base/log.h"
#include "exchange/exchange_internal.h"

#include <string.h>

static const struct exchange_ops *const built_exchanges[] = {
    &exchange_none,
#ifdef VOCDIST_HAVE_MPI
    &exchange_mpi,
#endif
};

static const struct exchange_ops *find_exchange(const char *name)
{
    for (size_t i = 0; i < sizeof built_exchanges / sizeof *built_exchanges;
         i++)
        if (!strcmp(built_exchanges[i]->name, name))
            return built_exchanges[i];
    return NULL;
}

enum vd_err exchange_open(struct exchange *x, const char *name,
                          const struct exchange_spec *spec)
{
    *x = (struct exchange){.spec = *spec};
    if (!strcmp(name, "auto"))
        name = spec->comm->size > 1 ? "mpi" : "none";
    const struct exchange_ops *ops = find_exchange(name);
    bool is_none_on_many = ops == &exchange_none && spec->comm->size > 1;
    /* All ranks fail in the same way: only rank 0 logs it. */
    if (spec->comm->rank != 0 && (!ops || is_none_on_many))
        return ops ? VD_CONFIG : VD_UNSUPPORTED;
    if (!ops)
        return VD_FAIL(
            VD_UNSUPPORTED,
            strcmp(name, "mpi")
                ? "exchange.name %s: this version has no such exchange\n"
                  "use --exchange.name auto"
                : "exchange.name %s: was not built\n"
                  "use --exchange.name auto, or build with "
                  "-DVOCDIST_MPI=ON",
            name);
    if (is_none_on_many)
        return VD_FAIL(VD_CONFIG,
                       "exchange.name none: %d ranks would not average their "
                       "gradients\n"
                       "use --exchange.name auto",
                       spec->comm->size);
    VD_TRY(ops->open(x));
    x->ops = ops;
    return VD_OK;
}

void exchange_close(struct exchange *x)
{
    if (x->ops)
        x->ops->close(x);
    *x = (struct exchange){0};
}
