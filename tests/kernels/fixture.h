/* Shared by the tests of the kernels, which run on the host (shim/device.h). */
#ifndef VOCDIST_TESTS_KERNELS_FIXTURE_H
#define VOCDIST_TESTS_KERNELS_FIXTURE_H

#include "check.h"
#include "kernels/kernels.h"

/* Aligned memory filled with 0xff bytes (NaN), of exactly this size; free() it.
 */
void *fill_nan(size_t bytes);
/* n zeros; free() it. */
double *zeros(size_t n);
/* n values of a normal distribution, mean and deviation 1 unless scaled. */
float *random_floats(size_t n, uint64_t seed, float mean, float deviation);
double *doubles_of(const float *x, size_t n);

static const enum kernel_type all_types[] = {KERNEL_F32, KERNEL_BF16,
                                             KERNEL_F16};
#define N_TYPES 3

size_t type_bytes(enum kernel_type type);
/* Tolerance of a comparison with the reference, relative to the values' scale.
 */
double type_tolerance(enum kernel_type type);

/* Stores n floats as `type`, and loads them again. */
void *store_as(enum kernel_type type, const float *x, size_t n);
float *load_as(enum kernel_type type, const void *x, size_t n);
/* x rounded to `type`, in place. */
void round_to(enum kernel_type type, float *x, size_t n);

/* Fails unless |a - b| <= tolerance (scale + |b|) for all elements. */
void compare_floats(const char *what, const float *a, const double *b, size_t n,
                    double tolerance, double scale);

/* Runs the tests with threads and blocks in ascending, then in descending
 * order. */
int run_in_both_orders(const struct CMUnitTest *tests, size_t n);
#define RUN_IN_BOTH_ORDERS(tests) \
    run_in_both_orders((tests), sizeof(tests) / sizeof *(tests))

#endif
