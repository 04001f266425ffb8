#include "base/watchdog.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_TICK_S 0.5

_Noreturn static void watchdog_expire(const struct watchdog *w)
{
    char step[32] = "";
    if (w->step >= 0)
        snprintf(step, sizeof step, ", step %" PRId64, w->step);
    log_emergency("watchdog: no progress for %g s while %s%s; this rank exits\n"
                  "  ---> check the disks and the network of this host, then "
                  "run the same command again",
                  w->limit_s, fault_site_activity(w->site), step);
    _exit(err_exit_code(VD_BUG));
}

/* Sleeps `tick_s` or until stopped. The caller holds the lock. */
static void wait_tick(struct watchdog *w, double tick_s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    double end = (double)until.tv_nsec * 1e-9 + tick_s;
    until.tv_sec += (time_t)floor(end);
    until.tv_nsec = (long)((end - floor(end)) * 1e9);
    pthread_cond_timedwait(&w->stopped, &w->lock, &until);
}

static void *watchdog_main(void *ctx)
{
    struct watchdog *w = ctx;
    pthread_mutex_lock(&w->lock);
    while (w->running) {
        double tick_s = fmin(MAX_TICK_S, w->limit_s / 4);
        double start = clock_now();
        wait_tick(w, tick_s);
        // A much longer sleep means that the process was suspended: do not
        // count that time.
        w->idle_s += fmin(clock_now() - start, 2 * tick_s);
        // idle_s counts whole ticks, also the part before a heartbeat: allow
        // one tick more.
        if (w->running && w->idle_s > w->limit_s + tick_s)
            watchdog_expire(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum vd_err watchdog_start(struct watchdog *w, enum fault_site site,
                           double limit_s)
{
    pthread_condattr_t monotonic;
    *w = (struct watchdog){
        .running = true, .site = site, .step = -1, .limit_s = limit_s};
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = pthread_create(&w->thread, NULL, watchdog_main, w);
    if (rc == 0)
        return VD_OK;
    w->running = false;
    return memory_raise_no_thread("the watchdog", rc);
}

void watchdog_arm(struct watchdog *w, enum fault_site site, int64_t step,
                  double limit_s)
{
    if (!w->running)
        return;
    pthread_mutex_lock(&w->lock);
    w->site = site;
    w->step = step;
    w->limit_s = limit_s;
    w->idle_s = 0;
    pthread_mutex_unlock(&w->lock);
}

void watchdog_heartbeat(struct watchdog *w)
{
    if (!w->running)
        return;
    pthread_mutex_lock(&w->lock);
    w->idle_s = 0;
    pthread_mutex_unlock(&w->lock);
}

void watchdog_stop(struct watchdog *w)
{
    if (!w->running)
        return;
    pthread_mutex_lock(&w->lock);
    w->running = false;
    pthread_cond_signal(&w->stopped);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->stopped);
    pthread_mutex_destroy(&w->lock);
}
