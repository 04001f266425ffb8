/*
 * Values of exchange buffers and their sums. tree_sum() computes the expected
 * sum from the definition of the tree, independently of the code under test.
 */
#ifndef VOCDIST_TESTS_MPI_TREE_SUM_H
#define VOCDIST_TESTS_MPI_TREE_SUM_H

#include "base/rng.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef float value_fn(int replica, size_t i, int step);

static inline float whole_number(int replica, size_t i, int step)
{
    return (float)(((i * 7 + (size_t)step) % 1000 + 1) *
                   (size_t)(2 * replica + 1));
}

/* Of many magnitudes, so that another order of additions gives other bits. */
static inline float any_number(int replica, size_t i, int step)
{
    uint64_t at = (uint64_t)(replica + 100 * step);
    double u = rng_uniform(5, RNG_TEST, at, (uint32_t)i);
    double v = rng_uniform(6, RNG_TEST, at, (uint32_t)i);
    return (float)((u - 0.5) * exp(10 * v));
}

/* The sum by the definition in backend/reduction_tree.h, without plans. */
static inline float tree_sum(int first, int n, size_t i, int step,
                             value_fn *value)
{
    int half = 1;
    if (n == 1)
        return value(first, i, step);
    while (2 * half < n)
        half *= 2;
    float left = tree_sum(first, half, i, step, value);
    return left + tree_sum(first + half, n - half, i, step, value);
}

#endif
