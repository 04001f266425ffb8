#include "backend/scaler.h"

#define SCALE_FACTOR 2.0f
#define MAX_SCALE    16777216.0f       /* 2^24 */
#define MIN_SCALE    (1.0f / 16384.0f) /* 2^-14 */

float scaler_scale(const float *state, const struct loss_scaling *scaling)
{
    return scaling->growth_steps > 0 ? state[SCALER_SCALE] : 1;
}

uint64_t scaler_count_applied(const float *state, uint64_t step)
{
    return step - (uint64_t)state[SCALER_SKIPPED];
}

static enum update_outcome skip(float *state,
                                const struct loss_scaling *scaling)
{
    state[SCALER_SKIPPED_IN_ROW]++;
    if (state[SCALER_SKIPPED_IN_ROW] > (float)scaling->max_skipped) {
        state[SCALER_HALTED] = 1;
        return UPDATE_HALTED;
    }
    state[SCALER_SKIPPED]++;
    state[SCALER_APPLIED_IN_ROW] = 0;
    if (state[SCALER_SCALE] > MIN_SCALE)
        state[SCALER_SCALE] /= SCALE_FACTOR;
    return UPDATE_SKIPPED;
}

enum update_outcome
scaler_advance(float *state, const struct loss_scaling *scaling, bool finite)
{
    if (state[SCALER_HALTED] != 0)
        return UPDATE_HALTED;
    if (!finite)
        return skip(state, scaling);
    state[SCALER_SKIPPED_IN_ROW] = 0;
    if (scaling->growth_steps == 0)
        return UPDATE_APPLIED;
    state[SCALER_APPLIED_IN_ROW]++;
    if (state[SCALER_APPLIED_IN_ROW] >= (float)scaling->growth_steps) {
        state[SCALER_APPLIED_IN_ROW] = 0;
        if (state[SCALER_SCALE] < MAX_SCALE)
            state[SCALER_SCALE] *= SCALE_FACTOR;
    }
    return UPDATE_APPLIED;
}
