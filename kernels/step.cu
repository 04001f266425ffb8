/* The state of a net on the device: which staging buffer, which scalars. */
#include "kernels_internal.h"

struct begin_args {
    struct kernel_step *step;
    const struct kernel_scalars *staged;
};

KERNEL(begin_forward, begin_args, a)
{
    if (threadIdx.x != 0)
        return;
    uint32_t staging = a.step->n_forwards % 2;
    a.step->scalars = a.staged[staging];
    a.step->staging = staging;
    a.step->n_forwards++;
}

int kernel_step_begin(struct kernel_queue queue, struct kernel_step *step,
                      const struct kernel_scalars staged[2])
{
    struct begin_args args = {step, staged};
    return LAUNCH(begin_forward, queue, 1, 1, args);
}
