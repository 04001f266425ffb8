/*
 * Backend `cpu`: float32 on oneDNN (2.x or 3.x), with kernels of its own for
 * batch norm and the optimizer. The default on machines without a GPU.
 * Requires AVX2.
 *
 *     cpu_dnnl            oneDNN primitives: convolution, linear, max pooling
 *     cpu_dnnl_api        the oneDNN C interface that differs in 2.x and 3.x
 *     cpu_simd            vector kernels, compiled once per vector width
 *     cpu_plan            graph -> schedule: operator fusion, liveness
 *                         analysis, memory planning in one arena
 *     cpu_unit            a unit of the plan made executable
 *     cpu_packed_weights  weights in oneDNN's formats, shared between nets
 *     cpu_net             a net; allocates its arena in the first forward
 *     cpu_pass            forward and backward pass of a net
 *     cpu_norm            batch norm
 *     cpu_head            loss and dropout
 *     cpu_optim           optimizer step, sums of exchange buffers
 *     cpu_pixels          image augmentation and normalization
 *     cpu_layout          conversion between canonical and blocked layouts
 *
 * The bits of a result depend on the instruction set in effect (describe()
 * reports it), the shapes, the micro-batch and the number of threads. They do
 * not depend on timings or on random choices.
 */
#ifndef VOCDIST_BACKEND_CPU_CPU_H
#define VOCDIST_BACKEND_CPU_CPU_H

#include "backend/backend.h"

extern const struct backend_ops backend_cpu_ops;

#endif
