/*
 * What an update does with a gradient that is not finite: the state machine of
 * a BUF_SCALER buffer. Backends in host memory call scaler_advance(); a device
 * computes the same without the host, so that the steps in flight behind a bad
 * step obey it, too. Local and pure.
 *
 * Without loss scaling the first such gradient halts. With loss scaling (as
 * torch.amp.GradScaler) the step is skipped and the scale halved; after
 * max_skipped skipped steps in a row the next one halts. After growth_steps
 * applied steps in a row the scale is doubled. It stays in [2^-14, 2^24].
 * Halted: no later update changes anything, also if its gradient is finite.
 *
 * The gradient is finite if the exchange buffer is: the sum of squares of the
 * scaled gradient may overflow in float32, so it is computed in double or after
 * the division by the scale.
 */
#ifndef VOCDIST_BACKEND_SCALER_H
#define VOCDIST_BACKEND_SCALER_H

#include "backend/backend.h"

/* The scale of the current step: 1 without loss scaling. */
float scaler_scale(const float *state, const struct loss_scaling *scaling);
/* Adam's t of step `step`: skipped steps are not counted. */
uint64_t scaler_count_applied(const float *state, uint64_t step);
/* Advances the state by one step; `finite`: of its gradient, statistics and
 * losses. The caller updates the weights only for UPDATE_APPLIED. */
enum update_outcome
scaler_advance(float *state, const struct loss_scaling *scaling, bool finite);

#endif
