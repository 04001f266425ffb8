/*
 * Simulates slow steps, for tests that must pass at any speed. Linked into a
 * copy of vocdist with --wrap=step_launch:
 *
 *     SLOW_STEP_MS=N      each step takes N milliseconds longer, in forward
 */
#include "base/clock.h"
#include "train/step.h"

#include <stdlib.h>
#include <time.h>

enum vd_err __real_step_launch(struct step *s, step_wait_fn *wait, void *ctx);
enum vd_err __wrap_step_launch(struct step *s, step_wait_fn *wait, void *ctx);

enum vd_err __wrap_step_launch(struct step *s, step_wait_fn *wait, void *ctx)
{
    const char *text = getenv("SLOW_STEP_MS");
    long ms = text ? atol(text) : 0;
    struct timespec delay = {ms / 1000, ms % 1000 * 1000000};
    enum vd_err err = __real_step_launch(s, wait, ctx);
    double start = clock_now();
    nanosleep(&delay, NULL);
    s->times.forward_s += clock_now() - start;
    return err;
}
