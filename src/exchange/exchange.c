/*
 * The registry of exchanges: chooses one by name and opens it.
 *
 * The choice of nccl depends on every rank: a library may be missing on one
 * host. So the ranks first gather what their backends offer. nccl is used if
 * all of them offer it.
 */
#include "exchange/exchange.h"

#include "backend/collective.h"
#include "base/alloc.h"
#include "base/log.h"
#include "exchange/exchange_internal.h"

#include <stdlib.h>
#include <string.h>

static const struct exchange_ops *const built_exchanges[] = {
    &exchange_none,
    &exchange_nccl,
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

/* ---- is nccl available on all ranks? ---- */

/* The reason why this rank cannot use it; NULL: it can. */
static const char *nccl_unavailable(const struct backend *b)
{
    return b->collective ? b->collective->unavailable()
                         : "the backend has no collective operations";
}

/* What the backend of one rank offers. */
struct offer {
    bool has_collective, is_usable;
};

/* What the backends of all ranks offer. */
struct offers {
    int n_collective;  /* ranks whose backend has a collective */
    int first_lacking; /* the first rank that cannot use it; -1: none */
};

static enum vd_err gather_offers(const struct exchange_spec *spec,
                                 struct offers *out)
{
    struct offer mine = {spec->backend->collective != NULL,
                         nccl_unavailable(spec->backend) == NULL};
    struct offer *all = xcalloc((size_t)spec->comm->size, sizeof *all);
    enum vd_err err =
        comm_allgather(spec->comm, SITE_EXCHANGE, &mine, sizeof mine, all);
    *out = (struct offers){.first_lacking = -1};
    for (int r = spec->comm->size - 1; err == VD_OK && r >= 0; r--) {
        out->n_collective += all[r].has_collective;
        if (!all[r].is_usable)
            out->first_lacking = r;
    }
    free(all);
    return err;
}

/* Collective. */
static enum vd_err require_nccl(const struct exchange_spec *spec)
{
    struct offers offers;
    enum vd_err err = VD_OK;
    VD_TRY(gather_offers(spec, &offers));
    if (offers.first_lacking == spec->comm->rank)
        err =
            VD_FAIL(VD_UNSUPPORTED,
                    "exchange.name nccl: backend %s: %s\n"
                    "use --exchange.name auto or mpi",
                    spec->backend->ops->name, nccl_unavailable(spec->backend));
    return comm_agree(spec->comm, SITE_EXCHANGE, err);
}

/* Collective: the name that "auto" stands for. No warning if no rank has a
 * collective: cpu and ref have none. */
static enum vd_err choose_auto(const struct exchange_spec *spec,
                               const char **name)
{
    struct offers offers;
    *name = "none";
    if (spec->comm->size == 1)
        return VD_OK;
    VD_TRY(gather_offers(spec, &offers));
    *name = offers.first_lacking < 0 ? "nccl" : "mpi";
    if (offers.first_lacking == spec->comm->rank && offers.n_collective > 0)
        log_warn("exchange auto: mpi, which is slower than nccl: backend %s: "
                 "%s\n"
                 "give --exchange.name mpi if that is intended",
                 spec->backend->ops->name, nccl_unavailable(spec->backend));
    return VD_OK;
}

/* ---- opening ---- */

/* The same result on all ranks, so only rank 0 needs it. */
static enum vd_err check_choice(const struct exchange_spec *spec,
                                const char *name,
                                const struct exchange_ops *ops)
{
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
    if (ops == &exchange_none && spec->comm->size > 1)
        return VD_FAIL(VD_CONFIG,
                       "exchange.name none: %d ranks would not average their "
                       "gradients\n"
                       "use --exchange.name auto",
                       spec->comm->size);
    return VD_OK;
}

enum vd_err exchange_open(struct exchange *x, const char *name,
                          const struct exchange_spec *spec)
{
    *x = (struct exchange){.spec = *spec};
    if (!strcmp(name, "auto"))
        VD_TRY(choose_auto(spec, &name));
    const struct exchange_ops *ops = find_exchange(name);
    VD_TRY(comm_agree(spec->comm, SITE_EXCHANGE,
                      spec->comm->rank == 0 ? check_choice(spec, name, ops)
                                            : VD_OK));
    if (ops == &exchange_nccl)
        VD_TRY(require_nccl(spec));
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
