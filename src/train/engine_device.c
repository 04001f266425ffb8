/*
 * Opens the device and compares those of all ranks. Gradients are exchanged in
 * the device's own layout, so all must be of one kind; a device with an id
 * computes for one rank only. Every rank gathers the same list and comes to the
 * same result; rank 0 reports.
 */
#include "train/engine.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum vd_err engine_open_device(struct engine *e)
{
    const struct config *c = e->config;
    struct backend_config config = {
        .local_rank = e->comm->node_rank,
        .plugin_dir = c->backend_dir,
        .precision = (enum backend_precision)c->train.precision};
    return backend_open(&e->backend, config_backend_name(c), &config);
}

void engine_describe_device(struct engine *e, char *out, size_t size)
{
    struct backend *b = &e->backend;
    snprintf(out, size, "%s (%s)", b->ops->name, b->ops->describe(b));
}

/* The device of one rank, as the others see it. */
#define DEVICE_ID_MAX 64
struct rank_device {
    char kind[ENGINE_DEVICE_MAX]; /* engine_describe_device() */
    char id[DEVICE_ID_MAX];       /* "": ranks may share it */
};

/* Rank 0 reports for all. */
static enum vd_err check_device_kinds(const struct comm *c,
                                      const struct rank_device *all)
{
    int odd = 0;
    while (odd < c->size && !strcmp(all[odd].kind, all[0].kind))
        odd++;
    if (odd == c->size)
        return VD_OK;
    if (c->rank == 0)
        log_error("rank 0 (%s) computes on %s, but rank %d (%s) on %s\n"
                  "use machines of one kind, or limit every rank to the "
                  "instruction set of the oldest machine: "
                  "ONEDNN_MAX_CPU_ISA=AVX2 (or AVX512_CORE)",
                  c->hosts[0], all[0].kind, odd, c->hosts[odd], all[odd].kind);
    return VD_CONFIG;
}

static bool share_device(const struct rank_device *all, int a, int b)
{
    return *all[a].id && !strcmp(all[a].id, all[b].id);
}

static enum vd_err check_shared_devices(const struct comm *c,
                                        const struct rank_device *all)
{
    for (int b = 1; b < c->size; b++) {
        int a = 0;
        while (a < b && !share_device(all, a, b))
            a++;
        if (a == b)
            continue;
        if (c->rank == 0)
            log_error("ranks %d and %d (%s, %s) compute on the same device, "
                      "%s\n"
                      "start one rank per device: fewer ranks per node, or "
                      "another device in CUDA_VISIBLE_DEVICES for each rank",
                      a, b, c->hosts[a], c->hosts[b], all[a].id);
        return VD_CONFIG;
    }
    return VD_OK;
}

enum vd_err engine_compare_devices(struct engine *e)
{
    struct rank_device mine = {.kind = ""};
    struct rank_device *all = xcalloc((size_t)e->comm->size, sizeof *all);
    const char *id = e->backend.ops->device_id(&e->backend);
    engine_describe_device(e, mine.kind, sizeof mine.kind);
    VD_ASSERT(!id || strlen(id) < sizeof mine.id);
    snprintf(mine.id, sizeof mine.id, "%s", id ? id : "");
    enum vd_err err =
        comm_allgather(e->comm, SITE_DEVICE, &mine, sizeof mine, all);
    if (err == VD_OK) {
        err = check_device_kinds(e->comm, all);
        if (err == VD_OK)
            err = check_shared_devices(e->comm, all);
        if (err != VD_OK) /* on all ranks */
            err = comm_agree(e->comm, SITE_DEVICE, err);
    }
    free(all);
    return err;
}
