/*
 * Communication of the control plane: ranks, agreement on errors, collectives
 * over host memory. CMake selects one of two implementations: MPI, or serial
 * (always one rank).
 *
 * All ranks make a *Collective* call in the same order with the same site. Any
 * rank can make a *Local* call at any time. All calls come from the thread that
 * called comm_open() (MPI_THREAD_FUNNELED), unless stated otherwise.
 *
 * Failure. Raising an error is Local, agreeing on it is Collective:
 *
 *     if (c->rank == 0)                  work of rank 0 only, without a return
 *         err = write_it();
 *     VD_TRY(comm_agree(c, SITE_CHECKPOINT, err));
 *     ...
 *     comm_close(&comm, err);            aborts the job if `err` is not agreed
 *     return err;
 *
 * Only the results of comm_agree() and comm_check_equal() are known to all
 * ranks. Any other error code is known to one rank only: comm_close() then
 * aborts the job, because the other ranks wait in a call that this rank never
 * makes. A branch that selects the next Collective call may depend only on
 * results of Collective calls.
 *
 * Every wait of a call below has a time limit, `timeout_s`. A rank that has
 * waited for half of it sends a ping to all other ranks. A working rank answers
 * in comm_progress(), between two units of its work; a waiting rank answers
 * while it waits. If at the limit all ranks have answered and one of them is
 * working, the wait is extended by half of the limit. Otherwise one of the
 * waiting ranks logs the ranks that did not answer, and the call returns
 * VD_COMM. No other thread answers for the main thread, so a deadlocked rank
 * does not appear to be working.
 *
 * After VD_COMM, MPI may still write to the buffers of the call: end the job. A
 * rank that hangs in a library is ended by its own watchdog, which is armed
 * during start and shutdown, and from comm_enter() on.
 *
 * `site` names the phase of the run, for messages and for fault injection
 * (base/fault.h): an injected error makes the call fail on that rank before the
 * rank takes part; comm_agree() agrees on the injected error.
 */
#ifndef VOCDIST_COMM_COMM_H
#define VOCDIST_COMM_COMM_H

#include "base/err.h"
#include "base/fault.h"
#include "base/watchdog.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMM_HOST_MAX        64
#define COMM_SETUP_TIMEOUT_S 600.0
#define COMM_FLAGS_MAX       64 /* reductions of flags in flight at a time */

struct comm {
    int rank, size;           /* in the whole job */
    int node_rank, node_size; /* among the ranks of this node (shared memory) */
    int node_root;            /* the rank whose node_rank is 0 on this node */
    double timeout_s;         /* of the next calls: see comm_enter() */
    char (*hosts)[COMM_HOST_MAX]; /* [size], owned: the host of every rank */
    enum vd_err agreed_err;       /* result of the last agreement */
    struct watchdog watchdog;
    void *impl; /* owned by the implementation; NULL: not started */
};

/* Local, also before comm_open(): "Open MPI v4.1.4", or "none". */
void comm_library_version(char *out, size_t capacity);

/*
 * Collective, before any other call but comm_library_version(), once in a
 * process: starts MPI, finds ranks and hosts, and sets the rank of the log.
 * `timeout_s` limits every wait until comm_enter(). VD_CONFIG if the launcher
 * started N separate one-rank programs. Whatever the result, pass it to
 * comm_close(); do not move `c` until then.
 */
enum vd_err comm_open(struct comm *c, double timeout_s) VD_MUST_USE;

/*
 * Local: sets the current site and the time limit in seconds of each wait in
 * it, and arms the watchdog, which comm_heartbeat() and comm_progress()
 * restart. With several ranks it expires after twice the limit and 5 s, so that
 * the waiting ranks can name this rank first; with one rank after the limit.
 * `step` is for the message, -1: none.
 */
void comm_enter(struct comm *c, enum fault_site site, int64_t step,
                double limit_s);
/* Local, any thread: restarts the watchdog timer after a unit of work. */
void comm_heartbeat(struct comm *c);
/* Local, main thread, after each unit of work (an image packed, a batch
 * evaluated, a micro-batch computed): comm_heartbeat(), and answers the pings
 * of other ranks. A unit should take less than half of the time limit. Costs
 * about a microsecond. */
void comm_progress(struct comm *c);

/*
 * Collective, the last call. `err` is the result of this rank's work:
 *
 *   - VD_OK, or the result of the last agreement (`agreed_err`): completes the
 *     flags in flight, waits in a barrier (SITE_SHUTDOWN), calls MPI_Finalize
 *     and returns; if one of these fails: comm_abort();
 *   - any other error, which only this rank may know: comm_abort().
 *
 * If comm_open() failed before it started MPI, there is no job to end, and it
 * returns. After comm_close() the caller exits with the exit code of `err`.
 */
void comm_close(struct comm *c, enum vd_err err);

/* Local: ends the whole job from any rank at any time, with the exit code of
 * `why`. */
_Noreturn void comm_abort(struct comm *c, enum vd_err why);

/* Local: the number of different hosts. */
int comm_count_hosts(const struct comm *c);

/*
 * Collective: returns the maximum of all `mine` on all ranks. Rank 0 logs which
 * rank had it; that rank logged the cause when it failed.
 */
enum vd_err comm_agree(struct comm *c, enum fault_site site,
                       enum vd_err mine) VD_MUST_USE;

/*
 * Collective: VD_CONFIG on all ranks unless all pass the same digest of
 * `what` ("the configuration"). Rank 0 logs the ranks in the minority.
 */
enum vd_err comm_check_equal(struct comm *c, enum fault_site site,
                             const char *what, uint64_t digest) VD_MUST_USE;

/* Collective: broadcasts `n` bytes of rank `root`, of any size. */
enum vd_err comm_bcast(struct comm *c, enum fault_site site, void *bytes,
                       size_t n, int root) VD_MUST_USE;

/* Collective: gathers `n` bytes of every rank, in rank order, into `all`
 * [size, n] on all ranks. */
enum vd_err comm_allgather(struct comm *c, enum fault_site site,
                           const void *mine, size_t n, void *all) VD_MUST_USE;

/*
 * Collective: gathers rows of any length on rank 0, in rank order. On rank 0
 * `all` is owned (alloc_aligned_free() it), on the others it is NULL. `sizes`
 * [size], in bytes, is filled on all ranks. VD_SYSTEM on all ranks if rank 0
 * is out of memory.
 */
enum vd_err comm_gather(struct comm *c, enum fault_site site, const void *mine,
                        size_t n, void **all, size_t *sizes) VD_MUST_USE;

/*
 * Collective: all-reduce with sum, element-wise, in place. Doubles are added in
 * rank order, so the bits depend on the number of ranks, but not on the network
 * or the MPI library. It all-gathers the values, so use it for short arrays.
 */
enum vd_err comm_sum(struct comm *c, enum fault_site site, double *values,
                     size_t n) VD_MUST_USE;
enum vd_err comm_sum_int64(struct comm *c, enum fault_site site,
                           int64_t *values, size_t n) VD_MUST_USE;

/* Sets *done; called again and again until it is true or an error is returned.
 * Must not block. */
typedef enum vd_err comm_poll_fn(void *ctx, bool *done);
/*
 * Local: polls until done, with the time limit of a Collective call: for work
 * of this rank, such as a device's, that may itself wait for other ranks.
 * Answers the pings of other ranks. VD_COMM after the time limit. Does not
 * visit the site.
 */
enum vd_err comm_wait(struct comm *c, enum fault_site site, comm_poll_fn *poll,
                      void *ctx) VD_MUST_USE;

/* Collective: returns when all ranks have called it. */
enum vd_err comm_barrier(struct comm *c, enum fault_site site) VD_MUST_USE;

/*
 * Not Collective: any rank, any number of times. Claims the lowest of the
 * numbers 0, 1, 2, ... that no rank has claimed since comm_open(), for dynamic
 * load balancing. Rank 0 answers in comm_progress() and while it waits.
 */
enum vd_err comm_claim_index(struct comm *c, enum fault_site site,
                             uint64_t *index) VD_MUST_USE;

/*
 * Collective, non-blocking: starts an all-reduce (bitwise or) of the flag bits
 * of a step. comm_flags_finish(), Collective, waits for the oldest one in
 * flight: `any` has the bits that any rank set. Up to COMM_FLAGS_MAX are in
 * flight; comm_close() completes the rest.
 */
enum vd_err comm_flags_start(struct comm *c, enum fault_site site,
                             uint32_t mine) VD_MUST_USE;
enum vd_err comm_flags_finish(struct comm *c, uint32_t *any) VD_MUST_USE;

#endif
