/*
 * What both implementations of comm.h share: opening and closing around
 * comm_impl_open() and comm_impl_close(), the watchdog's phases, comparison of
 * values over ranks, and sums in a fixed order. The collective calls among them
 * are built on the implementation's bcast, gather and allgather.
 */
#include "comm/comm.h"

#include "comm/comm_internal.h"
#include "comm/launch.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GRACE_S   5.0
#define MAX_NAMED 8
#define SUM_CHUNK ((size_t)1 << 17) /* doubles gathered at a time */
#define SPIN_S    10e-6             /* of a wait: until then do nothing, */
#define YIELD_S   200e-6            /* until then yield, then sleep */

/* The ranks that wait for this one need up to one more limit until they report
 * it; the watchdog must not expire before that. */
static double watchdog_limit(double limit_s)
{
    return 2 * limit_s + GRACE_S;
}

enum vd_err comm_open(struct comm *c, double timeout_s)
{
    *c = (struct comm){.size = 1, .node_size = 1, .timeout_s = timeout_s};
    VD_TRY(launch_check_environment());
    VD_TRY(watchdog_start(&c->watchdog, SITE_INIT, watchdog_limit(timeout_s)));
    VD_TRY(comm_impl_open(c));
    watchdog_arm(&c->watchdog, SITE_INIT, -1, INFINITY);
    return VD_OK;
}

void comm_close(struct comm *c, enum vd_err err)
{
    bool is_agreed = err == VD_OK || err == c->agreed_err;
    comm_enter(c, SITE_SHUTDOWN, -1, c->timeout_s);
    if (c->impl) {
        enum vd_err closed = is_agreed ? comm_impl_close(c) : err;
        if (closed != VD_OK)
            comm_abort(c, closed);
    }
    watchdog_stop(&c->watchdog);
    free(c->hosts);
    c->hosts = NULL;
}

void comm_enter(struct comm *c, enum fault_site site, int64_t step,
                double limit_s)
{
    c->timeout_s = limit_s;
    watchdog_arm(&c->watchdog, site, step,
                 c->size > 1 ? watchdog_limit(limit_s) : limit_s);
}

void comm_heartbeat(struct comm *c)
{
    watchdog_heartbeat(&c->watchdog);
}

void comm_backoff(double waited_s)
{
    if (waited_s < SPIN_S)
        return;
    if (waited_s < YIELD_S) {
        sched_yield();
        return;
    }
    double sleep_s = waited_s / 10 < 1e-3 ? waited_s / 10 : 1e-3;
    nanosleep(&(struct timespec){.tv_nsec = (long)(sleep_s * 1e9)}, NULL);
}

int comm_count_hosts(const struct comm *c)
{
    int n = 0;
    for (int r = 0; r < c->size; r++) {
        bool is_new = true;
        for (int k = 0; k < r && is_new; k++)
            is_new = strcmp(c->hosts[k], c->hosts[r]) != 0;
        n += is_new;
    }
    return n;
}

static int count_equal(const uint64_t *all, int n, uint64_t value)
{
    int count = 0;
    for (int r = 0; r < n; r++)
        count += all[r] == value;
    return count;
}

/* The most frequent value; in a tie, that of the lowest rank. */
static uint64_t majority_value(const uint64_t *all, int n)
{
    uint64_t best = all[0];
    int best_count = 0;
    for (int r = 0; r < n && best_count <= n / 2; r++) {
        int count = count_equal(all, n, all[r]);
        if (count > best_count) {
            best_count = count;
            best = all[r];
        }
    }
    return best;
}

static void format_mismatch(const struct comm *c, const uint64_t *all,
                            uint64_t majority, struct text *out)
{
    int minority = c->size - count_equal(all, c->size, majority), named = 0;
    for (int r = 0; r < c->size && named < MAX_NAMED; r++)
        if (all[r] != majority)
            text_add(out, "%srank %d (%s) has %016" PRIx64, named++ ? ", " : "",
                     r, c->hosts[r], all[r]);
    if (minority > named)
        text_add(out, " and %d more differ", minority - named);
    text_add(out, ", the other %d have %016" PRIx64, c->size - minority,
             majority);
}

enum vd_err comm_check_equal(struct comm *c, enum fault_site site,
                             const char *what, uint64_t digest)
{
    uint64_t *all = xcalloc((size_t)c->size, sizeof *all);
    enum vd_err err;

    VD_TRY_GOTO(out, err, comm_allgather(c, site, &digest, sizeof digest, all));
    uint64_t majority = majority_value(all, c->size);
    if (count_equal(all, c->size, majority) == c->size)
        goto out;
    err = c->agreed_err = VD_CONFIG;
    if (c->rank == 0) {
        struct text mismatch = {0};
        format_mismatch(c, all, majority, &mismatch);
        log_error("ranks differ in %s: %s\nstart every rank with the same "
                  "program, options and files",
                  what, mismatch.bytes);
        free(mismatch.bytes);
    }
out:
    free(all);
    return err;
}

enum vd_err comm_sum(struct comm *c, enum fault_site site, double *values,
                     size_t n)
{
    size_t size = (size_t)c->size;
    size_t most = SUM_CHUNK / size + 1;
    double *all = xcalloc(size * (n < most ? n : most) + 1, sizeof *all);
    enum vd_err err = VD_OK;

    for (size_t done = 0; done < n && err == VD_OK;) {
        size_t k = n - done < most ? n - done : most;
        err = comm_allgather(c, site, values + done, k * sizeof *all, all);
        for (size_t i = 0; err == VD_OK && i < k; i++) {
            values[done + i] = all[i];
            for (size_t r = 1; r < size; r++)
                values[done + i] += all[r * k + i];
        }
        done += k;
    }
    free(all);
    return err;
}
