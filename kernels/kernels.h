/*
 * CUDA kernels of backend cuda: all of a training step except convolutions and
 * matrix products (cuDNN). One family per file, X.cu; these are their
 * launchers.
 *
 * Launchers. A launcher enqueues one or a few kernels on queue.stream and
 * returns cudaSuccess (0) or the launch's cudaError_t. It never waits, copies
 * or allocates, so a stream that is being captured can be passed. Argument
 * structs are read before a launcher returns; the arrays that they point to are
 * device memory (or pinned host memory that the device can access), borrowed
 * until the work is done. Nothing that changes from step to step is an
 * argument: steps, learning rates, seeds and staging buffers come from struct
 * kernel_step in device memory. One captured step can therefore be replayed.
 *
 * Layout. Activations are NHWC: [rows, c] with rows = n h w and c the innermost
 * dimension, stored as enum kernel_type. c is the padded number of channels, a
 * multiple of 8; vectors per channel are float32 [c]. In padding channels
 * weight and bias are 0, so they stay 0. Activations, masks and flat buffers
 * start at a multiple of 16 bytes, other arrays at a multiple of their
 * element's size. Arrays of one call do not overlap, unless the call says that
 * they may be the same.
 *
 * Arithmetic. The sources are compiled without implicit fused multiply-adds
 * (nvcc -fmad=false): +, -, x, / and sqrt have the bits of the reference in
 * float32 on any device and in the tests on the host. The kernels are bound by
 * memory, so this costs nothing. Sums are in a fixed order that depends on the
 * shapes only, without atomics: the bits depend neither on queue.max_blocks nor
 * on the device. Long sums are in double.
 *
 * The structs that mirror those of data/batch_item.h and backend/backend.h have
 * the same layout, which the tests check; those headers are not valid C++.
 *
 * All calls are Local; a queue is used by one thread at a time.
 */
#ifndef VOCDIST_KERNELS_KERNELS_H
#define VOCDIST_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* a cudaStream_t is a pointer to it */

/* Where to enqueue. max_blocks: upper limit of a grid, 0: none; it leaves
 * multiprocessors to other streams and does not change results. */
struct kernel_queue {
    struct CUstream_st *stream;
    unsigned max_blocks;
};

/* Type of stored activations. */
enum kernel_type { KERNEL_F32, KERNEL_BF16, KERNEL_F16 };

/* ---- exchange buffers: reduce.cu ---- */

/* dst += src, element by element. Any alignment of the range. */
int kernel_add(struct kernel_queue queue, float *dst, const float *src,
               size_t n);
/* x /= by, element by element. */
int kernel_divide(struct kernel_queue queue, float *x, size_t n, float by);

/* What an update has to know about the mean gradient before it changes
 * anything. */
struct kernel_grad_summary {
    double squares; /* sum of the squares of all gradient elements */
    int32_t finite; /* 1: all gradients and statistics are, and the flag is 0 */
};

struct kernel_grad {
    const float *grad; /* [n] */
    size_t n;
    const float *stats; /* [n_stats]: batch statistics */
    size_t n_stats;
    const float *flag; /* of non-finite losses, 0: none; averaged */
    double *partials;  /* [kernel_grad_partials(n)]; scratch memory */
    struct kernel_grad_summary *out;
};

size_t kernel_grad_partials(size_t n);
int kernel_grad_summarize(struct kernel_queue queue,
                          const struct kernel_grad *g);

/* ---- conversion: cast.cu ---- */

/* Converts between float32 and `type` (not KERNEL_F32), n elements. Rounds to
 * nearest even; values beyond the largest one become infinite. */
int kernel_cast_from_f32(struct kernel_queue queue, enum kernel_type type,
                         void *dst, const float *src, size_t n);
int kernel_cast_to_f32(struct kernel_queue queue, enum kernel_type type,
                       float *dst, const void *src, size_t n);

#ifdef __cplusplus
}
#endif

#endif
