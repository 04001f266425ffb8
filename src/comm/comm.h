/*
 * Ranks and agreement: the host's control plane. Two implementations of one
 * interface, chosen by CMake: MPI, and a serial twin (always one rank).
 *
 * *Collective* calls are made by all ranks in the same order with the same
 * site; *Local* ones by any rank at any time. All calls come from the thread
 * that called comm_open() (MPI_THREAD_FUNNELED).
 *
 * Failure. Raising is Local, agreeing is Collective:
 *
 *     if (c->rank == 0)                  root-only work, no return in between
 *         err = write_it();
 *     VD_TRY(comm_agree(c, SITE_CHECKPOINT, err));
 *     ...
 *     return comm_close(&comm, err);     the last line of main()
 *
 * A code that did not come out of comm_agree() or comm_check_equal() is known
 * to this rank alone; comm_close() then ends the whole job instead of waiting
 * for ranks that will never come. A branch that decides which Collective call
 * is next depends only on values that came out of one.
 *
 * Every wait has a time limit, `timeout_s`. A rank that has waited for half of
 * it asks the others whether they make progress. A rank that works answers in
 * comm_progress(), between two units of its work; one that waits answers while
 * it waits. When the limit passes and all have answered, one of them as
 * working, the wait goes on for another half of the limit. Else one of the
 * waiting ranks names those that gave no answer and the call is VD_COMM. No
 * thread answers for the main one: a deadlocked rank must not look alive.
 *
 * After VD_COMM buffers may still be written to: end the job. A rank that hangs
 * in a library is ended by its own watchdog, which is armed while the ranks
 * start and end, and from comm_enter() on.
 *
 * `site` names what the run is doing, for messages and for fault injection
 * (base/fault.h): an injected error makes the call fail on that rank before it
 * takes part; comm_agree() agrees on it.
 */
#ifndef VOCDIST_COMM_COMM_H
#define VOCDIST_COMM_COMM_H

#include "base/err.h"
#include "base/fault.h"
#include "base/watchdog.h"

#include <stddef.h>
#include <stdint.h>

#define COMM_HOST_MAX        64
#define COMM_SETUP_TIMEOUT_S 600.0
#define COMM_FLAGS_MAX       64 /* reductions of flags under way at a time */

struct comm {
    int rank, size;           /* in the whole job */
    int node_rank, node_size; /* among the ranks that share memory with us */
    int node_root;            /* the rank whose node_rank is 0 on our node */
    double timeout_s;         /* of the calls to come: see comm_enter() */
    char (*hosts)[COMM_HOST_MAX]; /* owned: host of every rank */
    enum vd_err agreed_err;       /* what was agreed last */
    struct watchdog watchdog;
    void *impl; /* owned; see comm_mpi.h */
};

/* Local, at any time: "Open MPI v4.1.4", or "none". */
void comm_library_version(char *out, size_t capacity);

/*
 * Collective, first thing in main(): starts MPI, finds ranks and hosts, tells
 * the log. VD_CONFIG when the launcher started N separate one-rank programs.
 * `c` may go to comm_close() and comm_abort() whatever the result.
 */
enum vd_err comm_open(struct comm *c, double timeout_s) VD_MUST_USE;

/*
 * Local: what comes next, and how many seconds each wait in it has. Without
 * another comm_enter() in that time the watchdog ends this rank; it leaves the
 * ranks that wait for it time to name it first. `step` is for the message, -1:
 * none.
 */
void comm_enter(struct comm *c, enum fault_site site, int64_t step,
                double limit_s);
/* Local, any thread: restarts the watchdog timer after a unit of work. */
void comm_heartbeat(struct comm *c);
/* Local, the main thread, after each unit of work (an image packed, a batch
 * evaluated, a micro-batch computed): also answers the ranks that ask. A unit
 * should take less than half of the time limit. Costs about a microsecond. */
void comm_progress(struct comm *c);

/*
 * Collective, the last thing in main(): its value is the exit status. A `err`
 * that was agreed ends in order (barrier, MPI_Finalize); any other one in
 * comm_abort().
 */
int comm_close(struct comm *c, enum vd_err err);

/* Local: ends the whole job from any rank at any time. */
_Noreturn void comm_abort(struct comm *c, enum vd_err why);

/* Local: different ones. */
int comm_count_hosts(const struct comm *c);

/*
 * Collective: all ranks get the worst of all `mine`. Rank 0 says which rank
 * had it; the cause was said by that rank when it failed.
 */
enum vd_err comm_agree(struct comm *c, enum fault_site site,
                       enum vd_err mine) VD_MUST_USE;

/*
 * Collective: VD_CONFIG on all ranks unless all pass the same digest of
 * `what` ("the configuration"). Rank 0 names the ranks in the minority.
 */
enum vd_err comm_check_equal(struct comm *c, enum fault_site site,
                             const char *what, uint64_t digest) VD_MUST_USE;

/* Collective: root's bytes to all, any size. */
enum vd_err comm_bcast(struct comm *c, enum fault_site site, void *bytes,
                       size_t n, int root) VD_MUST_USE;

/* Collective: `mine` of every rank, in rank order, to all. */
enum vd_err comm_allgather(struct comm *c, enum fault_site site,
                           const void *mine, size_t n, void *all) VD_MUST_USE;

/*
 * Collective: rows of any length, in rank order, to rank 0. There `all` is
 * owned (alloc_aligned_free() it), elsewhere NULL. `sizes` [size] is filled on
 * all ranks. VD_SYSTEM on all ranks when rank 0 has no memory for it.
 */
enum vd_err comm_gather(struct comm *c, enum fault_site site, const void *mine,
                        size_t n, void **all, size_t *sizes) VD_MUST_USE;

/*
 * Collective: element-wise sums, in place, on all ranks. Doubles are added in
 * rank order, so the bits depend on the number of ranks, never on the network
 * or the library; every rank's values travel to all, so it is for short ones.
 */
enum vd_err comm_sum(struct comm *c, enum fault_site site, double *values,
                     size_t n) VD_MUST_USE;
enum vd_err comm_sum_int64(struct comm *c, enum fault_site site,
                           int64_t *values, size_t n) VD_MUST_USE;

/* Collective. */
enum vd_err comm_barrier(struct comm *c, enum fault_site site) VD_MUST_USE;

/*
 * Any rank, any number of times: the next of the numbers 0, 1, 2, ... that no
 * rank has got since comm_open(). For work that is shared as ranks become free.
 * Rank 0 gives the numbers out in comm_progress() and while it waits.
 */
enum vd_err comm_claim_index(struct comm *c, enum fault_site site,
                             uint64_t *index) VD_MUST_USE;

/*
 * Collective, does not wait: starts to gather the ranks' flag bits of a step.
 * comm_flags_finish(), Collective, completes the oldest one that is not yet:
 * `any` has the bits that any rank set. Up to COMM_FLAGS_MAX are under way;
 * comm_close() completes the rest.
 */
enum vd_err comm_flags_start(struct comm *c, enum fault_site site,
                             uint32_t mine) VD_MUST_USE;
enum vd_err comm_flags_finish(struct comm *c, uint32_t *any) VD_MUST_USE;

/* ---- for the two implementations ---- */

/* The first thing and the last thing of comm_open(). */
enum vd_err comm_open_start(struct comm *c, double timeout_s) VD_MUST_USE;
void comm_open_finish(struct comm *c);

#endif
