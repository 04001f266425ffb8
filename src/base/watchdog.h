/*
 * A watchdog thread that ends the process when it makes no progress. A rank
 * that hangs in a library cannot recover; when it exits, the launcher ends the
 * other ranks. On expiry the watchdog writes step, site, rank and host to
 * standard error and calls _exit(70), without cleanup, which could hang, too.
 *
 * The timer uses monotonic time and counts only while the process runs, so a
 * job that was suspended continues. Local.
 *
 *     watchdog_start(&w, SITE_INIT, 600);
 *     watchdog_arm(&w, SITE_STEP, step, 300); in every step
 *     watchdog_stop(&w);
 */
#ifndef VOCDIST_BASE_WATCHDOG_H
#define VOCDIST_BASE_WATCHDOG_H

#include "base/err.h"
#include "base/fault.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The thread uses it in place: do not move or free it before watchdog_stop().
 * If it was never started ({0}), all calls but watchdog_start() do nothing. */
struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock; /* guards all fields below */
    pthread_cond_t stopped;
    bool running;
    enum fault_site site;
    int64_t step;
    double limit_s, idle_s; /* idle: since the last heartbeat */
};

/* Starts the thread and the timer. VD_SYSTEM if it cannot be started. */
enum vd_err watchdog_start(struct watchdog *w, enum fault_site site,
                           double limit_s) VD_MUST_USE;

/* Sets site, step and time limit, and restarts the timer: the next heartbeat
 * must come within `limit_s` seconds (INFINITY: never expires). `step` is for
 * the message, -1: none. Any thread. */
void watchdog_arm(struct watchdog *w, enum fault_site site, int64_t step,
                  double limit_s);

/* Restarts the timer with the same site, step and limit. Any thread. */
void watchdog_heartbeat(struct watchdog *w);

/* Ends the thread and waits for it. */
void watchdog_stop(struct watchdog *w);

#endif
