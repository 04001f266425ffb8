#include "base/quantiles.h"

#include "base/err.h"

#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quartile(const double *sorted, size_t n, size_t k)
{
    size_t quarters = k * (n - 1), below = quarters / 4;
    double fraction = (double)(quarters % 4) / 4;
    double above = below + 1 < n ? sorted[below + 1] : sorted[below];
    return sorted[below] + fraction * (above - sorted[below]);
}

void quantiles_compute(double *values, size_t n, struct quantiles *out)
{
    VD_ASSERT(n > 0);
    qsort(values, n, sizeof *values, compare_doubles);
    *out = (struct quantiles){.min = values[0],
                              .q1 = quartile(values, n, 1),
                              .median = quartile(values, n, 2),
                              .q3 = quartile(values, n, 3),
                              .max = values[n - 1]};
}
