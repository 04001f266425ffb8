/*
 * Where the values of a sample lie: what is said of repeated measurements,
 * which have no normal distribution. Local.
 */
#ifndef VOCDIST_BASE_QUANTILES_H
#define VOCDIST_BASE_QUANTILES_H

#include <stddef.h>

struct quantiles {
    double min, q1, median, q3, max;
};

/* Of n >= 1 finite values, which get sorted. Quartiles lie between the
 * neighbours of rank (n - 1) / 4, (n - 1) / 2, 3 (n - 1) / 4. */
void quantiles_compute(double *values, size_t n, struct quantiles *out);

#endif
