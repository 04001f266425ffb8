/*
 * Minimum, quartiles and maximum: the summary of repeated measurements, whose
 * distribution is not normal. Local.
 */
#ifndef VOCDIST_BASE_QUANTILES_H
#define VOCDIST_BASE_QUANTILES_H

#include <stddef.h>

struct quantiles {
    double min, q1, median, q3, max;
};

/* Sorts `values`, which are n >= 1 finite numbers. The quartiles are at the
 * positions (n - 1) / 4, (n - 1) / 2 and 3 (n - 1) / 4 of the sorted values,
 * interpolated linearly. */
void quantiles_compute(double *values, size_t n, struct quantiles *out);

#endif
