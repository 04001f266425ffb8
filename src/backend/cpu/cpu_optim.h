/*
 * The optimizer step and the arithmetic of exchange buffers, on the backend's
 * flat buffers. The bits do not depend on the number of threads. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_OPTIM_H
#define VOCDIST_BACKEND_CPU_OPTIM_H

#include "backend/backend.h"
#include "backend/cpu/cpu_simd.h"

struct optim_step {
    const struct graph *graph;
    const struct optim *optim;
    const struct step_scalars *scalars;
    struct weights *weights; /* changed, except for its version */
    const struct simd *simd;
    int threads;
    double *partials; /* [optim_n_partials()]; scratch memory */
};

size_t optim_n_partials(const struct graph *g);

/* As backend_ops.update, but for weights->version. `exchange`: [n_exchange],
 * the mean over replicas. */
struct update_result optim_update(const struct optim_step *s,
                                  const float *exchange);

/* to += from, element by element */
void optim_add(const struct simd *simd, int threads, float *to,
               const float *from, size_t n);
/* x /= by, element by element */
void optim_divide(int threads, float *x, size_t n, float by);

#endif
