/*
 * Backend `cpu`: float32 over oneDNN (2.x or 3.x), with own kernels for batch
 * norm and the optimizer. The default wherever there is no GPU. Needs AVX2.
 *
 *     cpu_dnnl    oneDNN's primitives; cpu_dnnl_api: its interface, 2.x or 3.x
 *     cpu_simd    our own inner loops, compiled per vector width
 *     cpu_plan    graph -> schedule: fusion, lifetimes, offsets in one arena
 *     cpu_net     a net: made once; its arena comes with the first forward
 *     cpu_packed_weights  packed weights, which nets share
 *     cpu_pass    forward and backward
 *     cpu_norm cpu_head cpu_optim cpu_pixels cpu_layout   as they are called
 *
 * Bits depend on the instruction set in effect (describe() tells), shape,
 * micro-batch and number of threads; on nothing measured or random.
 */
#ifndef VOCDIST_BACKEND_CPU_CPU_H
#define VOCDIST_BACKEND_CPU_CPU_H

#include "backend/backend.h"

extern const struct backend_ops backend_cpu_ops;

#endif
