/*
 * What the kernels' sources need beyond the common subset of C and CUDA C++,
 * for nvcc. tests/kernels/shim/device.h is the same for the host's C compiler.
 * A source includes it as <device.h>; the build's include path decides.
 *
 * All blocks have KERNEL_THREADS threads in one dimension. A kernel takes one
 * struct by value:
 *
 *     KERNEL(name, name_args, a) { ... a.x[i] ... }
 *     return LAUNCH(name, queue, grid_x, grid_y, args);
 */
#ifndef VOCDIST_KERNELS_DEVICE_H
#define VOCDIST_KERNELS_DEVICE_H

#include <math.h>
#include <stdint.h>

#define KERNEL_THREADS 256

#define KERNEL(name, args, a)                                \
    static __global__ void __launch_bounds__(KERNEL_THREADS) \
        name(const struct args a)

#define LAUNCH(name, queue, x, y, a)                                 \
    (name<<<dim3((x), (y)), KERNEL_THREADS, 0, (queue).stream>>>(a), \
     (int)cudaGetLastError())

/* ---- vectors of 16 bytes, at addresses that are multiples of 16 ---- */

struct words4 {
    uint32_t w[4];
};

static __device__ __forceinline__ struct words4 load_words4(const void *p)
{
    uint4 q = *(const uint4 *)p;
    struct words4 r = {{q.x, q.y, q.z, q.w}};
    return r;
}

static __device__ __forceinline__ void store_words4(void *p, struct words4 v)
{
    *(uint4 *)p = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]);
}

/* Of 8 bytes. */
static __device__ __forceinline__ void store_words2(void *p, uint32_t a,
                                                    uint32_t b)
{
    *(uint2 *)p = make_uint2(a, b);
}

/* ---- bits and 16-bit types; rounding to nearest even ---- */

static __device__ __forceinline__ float float_from_bits(uint32_t bits)
{
    return __uint_as_float(bits);
}

static __device__ __forceinline__ uint32_t bits_from_float(float x)
{
    return __float_as_uint(x);
}

static __device__ __forceinline__ uint16_t bf16_from_float(float x)
{
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

static __device__ __forceinline__ uint16_t f16_from_float(float x)
{
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

static __device__ __forceinline__ float float_from_f16(uint16_t bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

#endif
