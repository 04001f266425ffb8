/*
 * Simulates slow steps, for tests that must pass at any speed. Linked into a
 * copy of vocdist with --wrap=step_run:
 *
 *     SLOW_STEP_MS=N      each step takes N milliseconds longer, in forward
 */
#include "base/clock.h"
#include "train/step.h"

#include <stdlib.h>
#include <time.h>

enum vd_err __real_step_run(struct step *s, step_wait_fn *wait, void *ctx,
                            struct result *results, int micro_batch,
                            struct update_result *update);
enum vd_err __wrap_step_run(struct step *s, step_wait_fn *wait, void *ctx,
                            struct result *results, int micro_batch,
                            struct update_result *update);

enum vd_err __wrap_step_run(struct step *s, step_wait_fn *wait, void *ctx,
                            struct result *results, int micro_batch,
                            struct update_result *update)
{
    const char *text = getenv("SLOW_STEP_MS");
    long ms = text ? atol(text) : 0;
    struct timespec delay = {ms / 1000, ms % 1000 * 1000000};
    enum vd_err err =
        __real_step_run(s, wait, ctx, results, micro_batch, update);
    double start = clock_now();
    nanosleep(&delay, NULL);
    s->times.end = clock_now();
    s->times.forward_s += s->times.end - start;
    return err;
}
