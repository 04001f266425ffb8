/*
 * Shared by the kernels' sources: typed vectors, sums over a warp and a block,
 * and kernels for each storage type. Device functions; `type` is a constant
 * where speed matters, so that the branches on it are resolved at compile time.
 */
#ifndef VOCDIST_KERNELS_KERNELS_INTERNAL_H
#define VOCDIST_KERNELS_KERNELS_INTERNAL_H

#include "kernels.h"

#include <device.h>

#define WARP  32
#define WARPS (KERNEL_THREADS / WARP)

/* ---- launches ---- */

/* Blocks in x of a grid-stride loop over `wanted` tiles, in a grid with y rows.
 */
static inline unsigned grid_blocks(struct kernel_queue queue, size_t wanted,
                                   unsigned y)
{
    size_t most = queue.max_blocks ? queue.max_blocks / y : 1u << 20;
    if (most == 0 || wanted == 0)
        return 1;
    return (unsigned)(wanted < most ? wanted : most);
}

/* Three kernels from the function name(args, type), one per storage type, and
 * their launch. */
#define TYPED_KERNELS(name, args) \
    KERNEL(name##_f32, args, a)   \
    {                             \
        name(&a, KERNEL_F32);     \
    }                             \
    KERNEL(name##_bf16, args, a)  \
    {                             \
        name(&a, KERNEL_BF16);    \
    }                             \
    KERNEL(name##_f16, args, a)   \
    {                             \
        name(&a, KERNEL_F16);     \
    }
#define LAUNCH_TYPED(name, type, queue, x, y, a)                   \
    ((type) == KERNEL_F32    ? LAUNCH(name##_f32, queue, x, y, a)  \
     : (type) == KERNEL_BF16 ? LAUNCH(name##_bf16, queue, x, y, a) \
                             : LAUNCH(name##_f16, queue, x, y, a))

/* ---- typed elements ---- */

static __device__ __forceinline__ uint32_t
bits16_from_float(float x, enum kernel_type type)
{
    return type == KERNEL_BF16 ? bf16_from_float(x) : f16_from_float(x);
}

static __device__ __forceinline__ float float_from_bits16(uint32_t bits,
                                                          enum kernel_type type)
{
    return type == KERNEL_BF16 ? float_from_bits(bits << 16)
                               : float_from_f16((uint16_t)bits);
}

static __device__ __forceinline__ float load1(const void *base, size_t i,
                                              enum kernel_type type)
{
    if (type == KERNEL_F32)
        return ((const float *)base)[i];
    return float_from_bits16(((const uint16_t *)base)[i], type);
}

static __device__ __forceinline__ void store1(void *base, size_t i, float x,
                                              enum kernel_type type)
{
    if (type == KERNEL_F32)
        ((float *)base)[i] = x;
    else
        ((uint16_t *)base)[i] = (uint16_t)bits16_from_float(x, type);
}

/* Four floats from index i, a multiple of 4. */
static __device__ __forceinline__ void load4f(const float *base, size_t i,
                                              float v[4])
{
    struct words4 q = load_words4(base + i);
    for (int k = 0; k < 4; k++)
        v[k] = float_from_bits(q.w[k]);
}

static __device__ __forceinline__ void store4f(float *base, size_t i,
                                               const float v[4])
{
    struct words4 q;
    for (int k = 0; k < 4; k++)
        q.w[k] = bits_from_float(v[k]);
    store_words4(base + i, q);
}

/* Four elements of a 16-bit type from index i, a multiple of 4. */
static __device__ __forceinline__ void
store4h(void *base, size_t i, const float v[4], enum kernel_type type)
{
    store_words2(
        (uint16_t *)base + i,
        bits16_from_float(v[0], type) | bits16_from_float(v[1], type) << 16,
        bits16_from_float(v[2], type) | bits16_from_float(v[3], type) << 16);
}

/* Eight elements from index i, a multiple of 8. */
static __device__ __forceinline__ void load8(const void *base, size_t i,
                                             enum kernel_type type, float v[8])
{
    if (type == KERNEL_F32) {
        load4f((const float *)base, i, v);
        load4f((const float *)base, i + 4, v + 4);
        return;
    }
    struct words4 q = load_words4((const uint16_t *)base + i);
    for (int k = 0; k < 4; k++) {
        v[2 * k] = float_from_bits16(q.w[k] & 0xffff, type);
        v[2 * k + 1] = float_from_bits16(q.w[k] >> 16, type);
    }
}

static __device__ __forceinline__ void
store8(void *base, size_t i, enum kernel_type type, const float v[8])
{
    if (type == KERNEL_F32) {
        store4f((float *)base, i, v);
        store4f((float *)base, i + 4, v + 4);
        return;
    }
    struct words4 q;
    for (int k = 0; k < 4; k++)
        q.w[k] = bits16_from_float(v[2 * k], type) |
                 bits16_from_float(v[2 * k + 1], type) << 16;
    store_words4((uint16_t *)base + i, q);
}

/* ---- sums in a fixed order ---- */

static __device__ __forceinline__ int is_finite(double x)
{
    return x - x == 0;
}

/* The sum over a warp, in all of its threads: the butterfly adds the same pairs
 * everywhere, so all threads have the same bits. */
static __device__ __forceinline__ double warp_sum(double x)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}

/* The sum over the block, in all threads. All of them call it. */
static __device__ __forceinline__ double block_sum(double x)
{
    __shared__ double warps[WARPS];
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        warps[threadIdx.x / WARP] = x;
    __syncthreads();
    double sum = warps[0];
    for (int i = 1; i < WARPS; i++)
        sum += warps[i];
    __syncthreads();
    return sum;
}

#endif
