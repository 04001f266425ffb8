/*
 * An ordered worker pool: threads run the jobs 0..n_jobs-1 in any order, and
 * the caller takes the results in order, so they do not depend on the number of
 * threads.
 *
 * A job has one of n_slots slots for its result: job j has slot j % n_slots.
 * It starts only after job j - n_slots was released, so at most n_slots jobs
 * are ahead of the caller. The caller owns the memory of the slots.
 *
 * Example with 2 threads and 2 slots:
 *
 *     thread A   runs job 0 (slot 0) ............ done
 *     thread B   runs job 1 (slot 1), done, waits ............ runs job 2
 *     caller     next() waits ................... job 0, release()
 *                                                 next(): job 1 at once
 *
 * Job 1 is done first but handed over second; job 2 starts when slot 0 is free.
 *
 * Errors are in order, too: the message of a failed job is kept, and logged by
 * worker_pool_next() when it is the job's turn. So the caller sees the error of
 * the first failed job in order, and no other. Local.
 */
#ifndef VOCDIST_BASE_WORKER_POOL_H
#define VOCDIST_BASE_WORKER_POOL_H

#include "base/err.h"

#include <stddef.h>

struct worker_pool_spec {
    const char *what; /* "cannot start a thread for WHAT"; borrowed */
    int n_threads;
    int min_threads; /* fewer than n_threads may start, but not fewer than this;
                      * at least 1 */
    size_t n_jobs, n_slots;
    /* Called on any thread of the pool. */
    enum vd_err (*run)(void *ctx, size_t job, size_t slot);
    void *ctx; /* borrowed */
};

struct worker_pool;

/* Starts the threads. VD_SYSTEM if fewer than min_threads can be started. */
enum vd_err worker_pool_new(struct worker_pool **out,
                            const struct worker_pool_spec *spec) VD_MUST_USE;

/*
 * Waits for the next job in order: 0 in the first call, then 1, ... Must not be
 * called more than n_jobs times. Returns the job's slot, which the caller uses
 * until worker_pool_release(), or raises the job's error; then only
 * worker_pool_free() may follow. next() and release() are for one thread.
 */
enum vd_err worker_pool_next(struct worker_pool *pool,
                             size_t *slot) VD_MUST_USE;

/* Releases a slot; slots are released in the order they were returned. */
void worker_pool_release(struct worker_pool *pool, size_t slot);

/* Waits for running jobs, starts no others, and joins all threads. NULL is
 * allowed. */
void worker_pool_free(struct worker_pool *pool);

#endif
