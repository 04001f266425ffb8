/* One layer of backend ref on NHWC maps of floats, for comparisons. */
#ifndef VOCDIST_TESTS_KERNELS_REF_LAYER_H
#define VOCDIST_TESTS_KERNELS_REF_LAYER_H

#include "backend/ref/layers.h"

/* A map of [n, h, w, c] values; of the c channels, the last ones may be padding
 * without a counterpart in ref. */
struct map_shape {
    int32_t n, h, w, c, padding;
};

static inline size_t map_rows(struct map_shape s)
{
    return (size_t)s.n * (size_t)s.h * (size_t)s.w;
}

static inline size_t map_count(struct map_shape s)
{
    return map_rows(s) * (size_t)s.c;
}

/* Copies to [n, c - padding, h, w] in double and back (padding: 0); free() the
 * result. */
double *map_to_ref(struct map_shape s, const float *nhwc);
double *map_from_ref(struct map_shape s, const double *nchw);

/* Random values, 0 in padding channels, rounded to `type`. */
float *random_map(struct map_shape s, enum kernel_type type, uint64_t seed,
                  float mean, float deviation);

#endif
