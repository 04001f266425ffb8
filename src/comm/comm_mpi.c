/*
 * The calls of comm.h over MPI. Every blocking call is a non-blocking one and
 * comm_mpi_wait(), which has a time limit: MPI itself waits forever for a rank
 * that is frozen or has lost its network (measured).
 *
 * Layers: comm_mpi_check (return codes), comm_mpi_peers (waits and control
 * messages, on a communicator of their own), and this file.
 *
 * Each public call first visits its site, so an injected fault happens before
 * the rank takes part. The *_unchecked calls do not, for use inside others.
 */
#include "comm/comm_mpi.h"
#include "comm/comm_internal.h"
#include "comm/comm_mpi_peers.h"
#include "comm/launch.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stderr_queue.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* MPI counts have type int, so larger data is sent in pieces. */
#define MAX_MESSAGE_BYTES ((size_t)64 << 20)
#define TAG_GATHER        1
/* Gives mpirun time to read the last message before the abort. */
#define ABORT_DELAY_NS 200000000
/* Open MPI crashes if less can be allocated. */
#define MIN_MEMORY_FOR_MPI ((size_t)256 << 20)

struct pending_flags {
    MPI_Request request;
    enum fault_site site;
    uint32_t mine, any;
};

struct comm_mpi {
    MPI_Comm world;
    struct comm_mpi_peers peers;
    struct pending_flags flags[COMM_FLAGS_MAX];
    size_t first, n; /* a ring of reductions in flight */
};

static struct comm_mpi *comm_mpi_impl(const struct comm *c)
{
    return c->impl;
}

MPI_Comm comm_mpi_world(const struct comm *c)
{
    return comm_mpi_impl(c)->world;
}

enum vd_err comm_mpi_wait(struct comm *c, enum fault_site site,
                          MPI_Request *request)
{
    return comm_mpi_peers_wait_request(&comm_mpi_impl(c)->peers, site, request);
}

/* ---- collectives without fault injection ---------------------------- */

static enum vd_err allgather_unchecked(struct comm *c, enum fault_site site,
                                       const void *mine, size_t n, void *all)
{
    MPI_Request request;
    VD_ASSERT(n <= INT_MAX);
    MPI_TRY(MPI_Iallgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE,
                           comm_mpi_world(c), &request));
    return comm_mpi_wait(c, site, &request);
}

static enum vd_err agree_unchecked(struct comm *c, enum fault_site site,
                                   enum vd_err mine)
{
    struct {
        int code, rank;
    } pair = {(int)mine, c->rank};
    MPI_Request request;

    MPI_TRY(MPI_Iallreduce(MPI_IN_PLACE, &pair, 1, MPI_2INT, MPI_MAXLOC,
                           comm_mpi_world(c), &request));
    VD_TRY(comm_mpi_wait(c, site, &request));
    c->agreed_err = (enum vd_err)pair.code;
    if (c->rank == 0 && c->size > 1 && c->agreed_err > VD_STOPPED)
        log_info("rank %d (%s) failed while %s: %s", pair.rank,
                 c->hosts[pair.rank], fault_site_activity(site),
                 err_text(c->agreed_err));
    return c->agreed_err;
}

/* Sends `n` bytes from rank `from` to rank 0; both ranks call it. */
static enum vd_err transfer_row(struct comm *c, enum fault_site site,
                                char *bytes, size_t n, int from)
{
    for (size_t done = 0; done < n; done += MAX_MESSAGE_BYTES) {
        int k =
            (int)(n - done < MAX_MESSAGE_BYTES ? n - done : MAX_MESSAGE_BYTES);
        MPI_Request request;
        if (c->rank == 0)
            MPI_TRY(MPI_Irecv(bytes + done, k, MPI_BYTE, from, TAG_GATHER,
                              comm_mpi_world(c), &request));
        else
            MPI_TRY(MPI_Isend(bytes + done, k, MPI_BYTE, 0, TAG_GATHER,
                              comm_mpi_world(c), &request));
        VD_TRY(comm_mpi_wait(c, site, &request));
    }
    return VD_OK;
}

/* "Open MPI v4.1.4, package: ...", "MPICH Version:\t4.0\nMPICH Release ...". */
void comm_library_version(char *out, size_t capacity)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n = 0;
    MPI_Get_library_version(text, &n);
    text[strcspn(text, ",\n")] = '\0';
    for (char *p = text; *p; p++)
        *p = *p == '\t' ? ' ' : *p;
    snprintf(out, capacity, "%s", text);
}

/* ---- opening and closing -------------------------------------------- */

static enum vd_err init_node_ranks(struct comm *c)
{
    MPI_Comm node;
    c->node_root = c->rank;
    MPI_TRY(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, c->rank,
                                MPI_INFO_NULL, &node));
    MPI_TRY(MPI_Comm_rank(node, &c->node_rank));
    MPI_TRY(MPI_Comm_size(node, &c->node_size));
    MPI_TRY(MPI_Bcast(&c->node_root, 1, MPI_INT, 0, node));
    return comm_mpi_check(MPI_Comm_free(&node), "MPI_Comm_free");
}

static enum vd_err init_ranks(struct comm *c)
{
    struct comm_mpi *m = comm_mpi_impl(c);
    char host[COMM_HOST_MAX] = "";

    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_rank(MPI_COMM_WORLD, &c->rank));
    MPI_TRY(MPI_Comm_size(MPI_COMM_WORLD, &c->size));
    gethostname(host, sizeof host - 1);
    log_set_rank(c->rank, c->size, host);
    VD_TRY(launch_check_size(c->size));
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &m->world)); // and its error handler
    VD_TRY(comm_mpi_peers_open(&m->peers, c));
    VD_TRY(init_node_ranks(c));
    c->hosts = xcalloc((size_t)c->size, sizeof *c->hosts);
    return allgather_unchecked(c, SITE_INIT, host, sizeof host, c->hosts);
}

enum vd_err comm_impl_open(struct comm *c)
{
    int provided = MPI_THREAD_SINGLE;
    VD_TRY(memory_check_available("MPI", MIN_MEMORY_FOR_MPI));
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    c->impl = xcalloc(1, sizeof(struct comm_mpi));
    VD_TRY(init_ranks(c));
    enum vd_err err = VD_OK;
    if (provided < MPI_THREAD_FUNNELED)
        err = VD_FAIL(VD_COMM, "this MPI library does not support threads\n"
                               "use one with MPI_THREAD_FUNNELED");
    return comm_agree(c, SITE_INIT, err);
}

enum vd_err comm_impl_close(struct comm *c)
{
    struct comm_mpi *m = comm_mpi_impl(c);
    uint32_t any;
    while (m->n > 0)
        VD_TRY(comm_flags_finish(c, &any));
    VD_TRY(comm_barrier(c, SITE_SHUTDOWN));
    VD_TRY(comm_mpi_peers_close(&m->peers));
    MPI_TRY(MPI_Comm_free(&m->world));
    MPI_TRY(MPI_Finalize());
    comm_mpi_peers_free(&m->peers);
    free(m);
    c->impl = NULL;
    return VD_OK;
}

void comm_abort(struct comm *c, enum vd_err why)
{
    fflush(NULL);
    stderr_flush();
    if (c->impl) {
        // mpirun of Open MPI 5 may drop output that it has not read yet.
        nanosleep(&(struct timespec){.tv_nsec = ABORT_DELAY_NS}, NULL);
        MPI_Abort(MPI_COMM_WORLD, err_exit_code(why));
    }
    _exit(err_exit_code(why));
}

/* ---- the calls of comm.h -------------------------------------------- */

void comm_progress(struct comm *c)
{
    comm_heartbeat(c);
    if (c->impl && c->size > 1)
        comm_mpi_peers_poll(&comm_mpi_impl(c)->peers, PEER_WORKING);
}

enum vd_err comm_agree(struct comm *c, enum fault_site site, enum vd_err mine)
{
    enum vd_err injected = fault_at(site, c->rank);
    return agree_unchecked(c, site, injected > mine ? injected : mine);
}

enum vd_err comm_bcast(struct comm *c, enum fault_site site, void *bytes,
                       size_t n, int root)
{
    char *at = bytes;
    VD_TRY(fault_at(site, c->rank));
    for (size_t done = 0; done < n; done += MAX_MESSAGE_BYTES) {
        size_t k = n - done < MAX_MESSAGE_BYTES ? n - done : MAX_MESSAGE_BYTES;
        MPI_Request request;
        MPI_TRY(MPI_Ibcast(at + done, (int)k, MPI_BYTE, root, comm_mpi_world(c),
                           &request));
        VD_TRY(comm_mpi_wait(c, site, &request));
    }
    return VD_OK;
}

enum vd_err comm_allgather(struct comm *c, enum fault_site site,
                           const void *mine, size_t n, void *all)
{
    VD_TRY(fault_at(site, c->rank));
    return allgather_unchecked(c, site, mine, n, all);
}

/* On rank 0: allocates room for all rows and copies its own row. */
static enum vd_err alloc_gathered_rows(const struct comm *c, const void *mine,
                                       const size_t *sizes, void **out)
{
    size_t total = 1; // never 0 bytes
    if (c->rank != 0)
        return VD_OK;
    for (int r = 0; r < c->size; r++)
        total += sizes[r];
    VD_TRY(alloc_aligned(out, total, 1, "gathered rows"));
    if (sizes[0])
        memcpy(*out, mine, sizes[0]);
    return VD_OK;
}

enum vd_err comm_gather(struct comm *c, enum fault_site site, const void *mine,
                        size_t n, void **all, size_t *sizes)
{
    void *rows = NULL;
    VD_TRY(comm_allgather(c, site, &n, sizeof n, sizes));
    enum vd_err err =
        agree_unchecked(c, site, alloc_gathered_rows(c, mine, sizes, &rows));
    if (err != VD_OK) {
        alloc_aligned_free(rows);
        return err;
    }
    size_t at = sizes[0];
    for (int r = 1; c->rank == 0 && r < c->size; at += sizes[r++])
        VD_TRY(transfer_row(c, site, (char *)rows + at, sizes[r], r));
    if (c->rank != 0)
        VD_TRY(transfer_row(c, site, (char *)mine, n, c->rank));
    *all = rows;
    return VD_OK;
}

enum vd_err comm_sum_int64(struct comm *c, enum fault_site site,
                           int64_t *values, size_t n)
{
    MPI_Request request;
    VD_ASSERT(n <= INT_MAX);
    VD_TRY(fault_at(site, c->rank));
    MPI_TRY(MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_INT64_T, MPI_SUM,
                           comm_mpi_world(c), &request));
    return comm_mpi_wait(c, site, &request);
}

enum vd_err comm_wait(struct comm *c, enum fault_site site, comm_poll_fn *poll,
                      void *ctx)
{
    return comm_mpi_peers_wait(&comm_mpi_impl(c)->peers, site, poll, ctx);
}

enum vd_err comm_barrier(struct comm *c, enum fault_site site)
{
    MPI_Request request;
    VD_TRY(fault_at(site, c->rank));
    MPI_TRY(MPI_Ibarrier(comm_mpi_world(c), &request));
    return comm_mpi_wait(c, site, &request);
}

enum vd_err comm_claim_index(struct comm *c, enum fault_site site,
                             uint64_t *index)
{
    VD_TRY(fault_at(site, c->rank));
    return comm_mpi_peers_claim(&comm_mpi_impl(c)->peers, site, index);
}

enum vd_err comm_flags_start(struct comm *c, enum fault_site site,
                             uint32_t mine)
{
    struct comm_mpi *m = comm_mpi_impl(c);
    VD_TRY(fault_at(site, c->rank));
    VD_ASSERT(m->n < COMM_FLAGS_MAX);
    struct pending_flags *f = &m->flags[(m->first + m->n) % COMM_FLAGS_MAX];
    *f = (struct pending_flags){.site = site, .mine = mine};
    MPI_TRY(MPI_Iallreduce(&f->mine, &f->any, 1, MPI_UINT32_T, MPI_BOR,
                           m->world, &f->request));
    m->n++;
    return VD_OK;
}

enum vd_err comm_flags_finish(struct comm *c, uint32_t *any)
{
    struct comm_mpi *m = comm_mpi_impl(c);
    VD_ASSERT(m->n > 0);
    struct pending_flags *f = &m->flags[m->first];
    VD_TRY(comm_mpi_wait(c, f->site, &f->request));
    m->first = (m->first + 1) % COMM_FLAGS_MAX;
    m->n--;
    *any = f->any;
    return VD_OK;
}
