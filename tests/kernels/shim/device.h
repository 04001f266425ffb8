/*
 * The names of CUDA that the kernels use, for the host's C compiler: the same
 * sources run on a machine without a GPU. As kernels/cuda/device.h.
 *
 * The threads of a block are fibers on one thread of the host, and blocks run
 * one after the other. Barriers and shuffles have their meaning: a thread that
 * does not take part in one ends the program with a message. Threads and blocks
 * run in ascending or descending order (shim_set_descending()), so a missing
 * barrier or a dependence between blocks changes the results. Shared memory is
 * filled with NaN before each block. Vectors of 16 bytes must be aligned.
 */
#ifndef VOCDIST_KERNELS_DEVICE_H
#define VOCDIST_KERNELS_DEVICE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define KERNEL_THREADS 256

#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__      static __attribute__((section("shim_shared")))

#define KERNEL(name, args, a)                                              \
    static void name(const struct args a);                                 \
    static void name##_entry(const void *p)                                \
    {                                                                      \
        name(*(const struct args *)p);                                     \
    }                                                                      \
    static inline int name##_launch(unsigned x, unsigned y, struct args p) \
    {                                                                      \
        return shim_launch(name##_entry, #name, x, y, &p);                 \
    }                                                                      \
    static void name(const struct args a)

#define LAUNCH(name, queue, x, y, a) \
    ((void)(queue), name##_launch((x), (y), (a)))

struct shim_index {
    unsigned x, y;
};
extern struct shim_index threadIdx, blockIdx, gridDim;

/* Runs x times y blocks of KERNEL_THREADS threads; returns 0. */
int shim_launch(void (*entry)(const void *args), const char *name, unsigned x,
                unsigned y, const void *args);
void shim_set_descending(bool descending);
/* Ends the program unless p is a multiple of `bytes`. */
void shim_check_aligned(const void *p, size_t bytes);

/* ---- barriers and warps; all threads of a warp take part ---- */

void __syncthreads(void);
void __syncwarp(void);
double shim_shuffle_xor(double x, int step);
uint32_t shim_ballot(bool predicate);

static inline double __shfl_xor_sync(uint32_t mask, double x, int step)
{
    (void)mask;
    return shim_shuffle_xor(x, step);
}

static inline uint32_t __ballot_sync(uint32_t mask, bool predicate)
{
    (void)mask;
    return shim_ballot(predicate);
}

/* ---- vectors ---- */

struct words4 {
    uint32_t w[4];
};

static inline struct words4 load_words4(const void *p)
{
    struct words4 v;
    shim_check_aligned(p, 16);
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_words4(void *p, struct words4 v)
{
    shim_check_aligned(p, 16);
    memcpy(p, &v, sizeof v);
}

static inline void store_words2(void *p, uint32_t a, uint32_t b)
{
    const uint32_t v[2] = {a, b};
    shim_check_aligned(p, 8);
    memcpy(p, v, sizeof v);
}

/* ---- bits and 16-bit types; rounding to nearest even ---- */

static inline float float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

uint16_t bf16_from_float(float x);
uint16_t f16_from_float(float x);
float float_from_f16(uint16_t bits);

#endif
