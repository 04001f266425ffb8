/*
 * A thread that ends the process when it makes no progress: a rank that hangs
 * in a library cannot be repaired, only ended, and the launcher then ends the
 * others. Fires with step, phase, rank and host on standard error and
 * _exit(70): no clean-up, since that may hang as well.
 *
 * Time is monotonic and counts only while the process runs: a job that was
 * suspended goes on. Local.
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

/* In place; must stay until the process ends or watchdog_stop(). One that was
 * never started ({0}) can be beaten and stopped. */
struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t stopped;
    bool running;
    enum fault_site site;
    int64_t step;
    double limit_s, idle_s; /* idle: since the last beat */
};

enum vd_err watchdog_start(struct watchdog *w, enum fault_site site,
                           double limit_s) VD_MUST_USE;

/* A sign of life; the next one must come within `limit_s` (INFINITY: none need
 * come). `step` is for the message, -1: none. Any thread. */
void watchdog_arm(struct watchdog *w, enum fault_site site, int64_t step,
                  double limit_s);

/* The same as the last one, again. Any thread. */
void watchdog_heartbeat(struct watchdog *w);

/* Waits for the thread to end. */
void watchdog_stop(struct watchdog *w);

#endif
