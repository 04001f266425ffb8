/*
 * A program on comm for test_comm_failure, which injects faults into it:
 *
 *     comm_probe CALL [TIMEOUT_S [WATCHDOG_S WATCHED_RANK]]
 *
 * CALL is a Collective call to make at every site, or `all` of them, or
 *
 *     raise         rank 1 returns an error that is not agreed
 *     agreed        rank 1 has an error, and the ranks agree on it
 *     handled       as agreed, then the ranks succeed
 *     abort         rank 1 calls comm_abort()
 *     cores         the ranks divide the cores
 *     order         rank 1 waits for a message that no rank sends
 *     late          rank 1 never arrives, rank 2 arrives late
 *     reporter      rank 1 never arrives, rank 0 arrives late
 *     busy          rank 1 works for six time limits before it arrives
 *     busy-stuck    rank 1 stops in the middle of its work
 *     busy-missing  rank 1 works, rank 2 never arrives
 */
#include "base/alloc.h"
#include "base/log.h"
#include "comm/comm_mpi.h"
#include "comm/cores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum vd_err gather(struct comm *c, enum fault_site site)
{
    size_t *sizes = xcalloc((size_t)c->size, sizeof *sizes);
    void *all = NULL;
    enum vd_err err =
        comm_gather(c, site, &c->rank, sizeof c->rank, &all, sizes);
    alloc_aligned_free(all);
    free(sizes);
    return err;
}

static enum vd_err allgather(struct comm *c, enum fault_site site)
{
    int *all = xcalloc((size_t)c->size, sizeof *all);
    enum vd_err err = comm_allgather(c, site, &c->rank, sizeof c->rank, all);
    free(all);
    return err;
}

static enum vd_err flags(struct comm *c, enum fault_site site)
{
    uint32_t any;
    VD_TRY(comm_flags_start(c, site, 1));
    return comm_flags_finish(c, &any);
}

#define FOREVER_S 3600.0

static void sleep_s(double seconds)
{
    time_t whole = (time_t)seconds;
    struct timespec t = {whole, (long)((seconds - (double)whole) * 1e9)};
    nanosleep(&t, NULL);
}

static enum vd_err wait_for_unsent_message(struct comm *c)
{
    MPI_Request request;
    int value;
    MPI_TRY(MPI_Irecv(&value, 1, MPI_INT, 0, 99, comm_mpi_world(c), &request));
    return comm_mpi_wait(c, SITE_REDUCE, &request);
}

static const char *const calls[] = {"agree",     "check_equal", "bcast",
                                    "allgather", "gather",      "sum",
                                    "sum_int64", "flags",       "barrier"};

static enum vd_err call_at_site(struct comm *c, const char *call,
                                enum fault_site site)
{
    double x = 1;
    int64_t i = 1;
    if (strcmp(call, "agree") == 0)
        return comm_agree(c, site, VD_OK);
    if (strcmp(call, "check_equal") == 0)
        return comm_check_equal(c, site, "nothing", 7);
    if (strcmp(call, "bcast") == 0)
        return comm_bcast(c, site, &x, sizeof x, 0);
    if (strcmp(call, "allgather") == 0)
        return allgather(c, site);
    if (strcmp(call, "gather") == 0)
        return gather(c, site);
    if (strcmp(call, "sum") == 0)
        return comm_sum(c, site, &x, 1);
    if (strcmp(call, "sum_int64") == 0)
        return comm_sum_int64(c, site, &i, 1);
    if (strcmp(call, "flags") == 0)
        return flags(c, site);
    if (strcmp(call, "barrier") == 0)
        return comm_barrier(c, site);
    return VD_FAIL(VD_USAGE, "no call %s", call);
}

/* Works `units` units of an eighth of the time limit each. */
static void work(struct comm *c, int units)
{
    for (int i = 0; i < units; i++) {
        sleep_s(c->timeout_s / 8);
        comm_progress(c);
    }
}

static enum vd_err run_busy(struct comm *c, const char *call)
{
    bool stuck = strcmp(call, "busy-stuck") == 0;
    bool missing = strcmp(call, "busy-missing") == 0;
    if (c->rank == 1)
        work(c, stuck ? 12 : 48);
    if (c->rank == (stuck ? 1 : missing ? 2 : -1))
        sleep_s(FOREVER_S);
    return comm_barrier(c, SITE_EVAL);
}

static enum vd_err run_call(struct comm *c, const char *call)
{
    bool faulty = c->rank == 1;
    int threads;
    if (strcmp(call, "raise") == 0)
        return faulty ? VD_FAIL(VD_DATA, "damaged file")
                      : comm_barrier(c, SITE_DATA);
    if (strcmp(call, "agreed") == 0)
        return comm_agree(c, SITE_DATA,
                          faulty ? VD_FAIL(VD_DATA, "damaged file") : VD_OK);
    if (strcmp(call, "handled") == 0)
        return comm_agree(c, SITE_DATA, faulty ? VD_DATA : VD_OK) == VD_DATA
                   ? VD_OK
                   : VD_BUG;
    if (strcmp(call, "abort") == 0 && faulty)
        comm_abort(c, VD_FAIL(VD_IO, "disk full"));
    if (strcmp(call, "abort") == 0)
        return comm_barrier(c, SITE_DATA);
    if (strcmp(call, "order") == 0)
        return faulty ? wait_for_unsent_message(c) : comm_barrier(c, SITE_DATA);
    if (strcmp(call, "late") == 0 && c->rank > 0)
        sleep_s(faulty ? FOREVER_S : 0.75 * c->timeout_s);
    if (strcmp(call, "reporter") == 0 && c->rank < 2)
        sleep_s(faulty ? FOREVER_S : c->timeout_s + 0.5);
    if (strcmp(call, "late") == 0 || strcmp(call, "reporter") == 0)
        return comm_barrier(c, SITE_DATA);
    if (strncmp(call, "busy", 4) == 0)
        return run_busy(c, call);
    if (strcmp(call, "cores") == 0)
        return cores_assign_threads(c, &threads);
    bool all = strcmp(call, "all") == 0;
    for (size_t k = 0; k < (all ? sizeof calls / sizeof *calls : 1); k++)
        for (int s = 0; s < FAULT_SITE_COUNT; s++)
            VD_TRY(call_at_site(c, all ? calls[k] : call, (enum fault_site)s));
    return VD_OK;
}

int main(int argc, char **argv)
{
    struct comm comm;
    const char *call = argc > 1 ? argv[1] : "";
    enum vd_err err = comm_open(&comm, COMM_SETUP_TIMEOUT_S);
    if (argc > 2)
        comm.timeout_s = atof(argv[2]);
    if (err == VD_OK && argc > 4 && comm.rank == atoi(argv[4]))
        watchdog_arm(&comm.watchdog, SITE_STEP, 0, atof(argv[3]));
    if (err == VD_OK)
        err = run_call(&comm, call);
    comm_close(&comm, err);
    return err_exit_code(err);
}
