/*
 * The serial implementation: one rank, same interface and checks, no MPI.
 * Collective calls copy the rank's own values; flags in flight are a ring.
 */
#include "comm/comm_internal.h"
#include "comm/launch.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stderr_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct comm_serial {
    uint64_t next_index;
    uint32_t flags[COMM_FLAGS_MAX];
    size_t first, n; /* a ring of reductions in flight */
};

void comm_library_version(char *out, size_t capacity)
{
    snprintf(out, capacity, "none");
}

enum vd_err comm_impl_open(struct comm *c)
{
    VD_TRY(launch_check_size(1));
    c->impl = xcalloc(1, sizeof(struct comm_serial));
    c->hosts = xcalloc(1, sizeof *c->hosts);
    gethostname(c->hosts[0], COMM_HOST_MAX - 1);
    log_set_rank(0, 1, c->hosts[0]);
    return comm_agree(c, SITE_INIT, VD_OK);
}

enum vd_err comm_impl_close(struct comm *c)
{
    VD_TRY(comm_barrier(c, SITE_SHUTDOWN));
    free(c->impl);
    c->impl = NULL;
    return VD_OK;
}

void comm_abort(struct comm *c, enum vd_err why)
{
    (void)c;
    fflush(NULL);
    stderr_flush();
    _exit(err_exit_code(why));
}

void comm_progress(struct comm *c)
{
    comm_heartbeat(c);
}

enum vd_err comm_agree(struct comm *c, enum fault_site site, enum vd_err mine)
{
    enum vd_err injected = fault_at(site, 0);
    c->agreed_err = injected > mine ? injected : mine;
    return c->agreed_err;
}

enum vd_err comm_bcast(struct comm *c, enum fault_site site, void *bytes,
                       size_t n, int root)
{
    (void)c;
    (void)bytes;
    (void)n;
    VD_ASSERT(root == 0);
    return fault_at(site, 0);
}

enum vd_err comm_allgather(struct comm *c, enum fault_site site,
                           const void *mine, size_t n, void *all)
{
    (void)c;
    VD_TRY(fault_at(site, 0));
    memcpy(all, mine, n);
    return VD_OK;
}

enum vd_err comm_gather(struct comm *c, enum fault_site site, const void *mine,
                        size_t n, void **all, size_t *sizes)
{
    void *copy = NULL;
    VD_TRY(
        comm_agree(c, site, alloc_aligned(&copy, n + 1, 1, "gathered rows")));
    if (n)
        memcpy(copy, mine, n);
    sizes[0] = n;
    *all = copy;
    return VD_OK;
}

enum vd_err comm_sum_int64(struct comm *c, enum fault_site site,
                           int64_t *values, size_t n)
{
    (void)c;
    (void)values;
    (void)n;
    return fault_at(site, 0);
}

enum vd_err comm_claim_index(struct comm *c, enum fault_site site,
                             uint64_t *index)
{
    struct comm_serial *s = c->impl;
    VD_TRY(fault_at(site, 0));
    *index = s->next_index++;
    return VD_OK;
}

enum vd_err comm_wait(struct comm *c, enum fault_site site, comm_poll_fn *poll,
                      void *ctx)
{
    double start = clock_now(), waited_s = 0;
    for (bool done = false; waited_s <= c->timeout_s;) {
        VD_TRY(poll(ctx, &done));
        if (done)
            return VD_OK;
        waited_s = clock_now() - start;
        comm_backoff(waited_s);
    }
    return VD_FAIL(VD_COMM,
                   "waited %.0f s while %s\n"
                   "check the device and the disk with the data; if they are "
                   "only slow, set a larger timeout",
                   c->timeout_s, fault_site_activity(site));
}

enum vd_err comm_barrier(struct comm *c, enum fault_site site)
{
    (void)c;
    return fault_at(site, 0);
}

enum vd_err comm_flags_start(struct comm *c, enum fault_site site,
                             uint32_t mine)
{
    struct comm_serial *s = c->impl;
    VD_TRY(fault_at(site, 0));
    VD_ASSERT(s->n < COMM_FLAGS_MAX);
    s->flags[(s->first + s->n++) % COMM_FLAGS_MAX] = mine;
    return VD_OK;
}

enum vd_err comm_flags_finish(struct comm *c, uint32_t *any)
{
    struct comm_serial *s = c->impl;
    VD_ASSERT(s->n > 0);
    *any = s->flags[s->first];
    s->first = (s->first + 1) % COMM_FLAGS_MAX;
    s->n--;
    return VD_OK;
}
