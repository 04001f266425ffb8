#include "kernels/fixture.h"

#include "kernels/ref_layer.h"

static size_t index_in_ref(struct map_shape s, size_t row, size_t channel)
{
    size_t plane = (size_t)s.h * (size_t)s.w, c = (size_t)(s.c - s.padding);
    return (row / plane * c + channel) * plane + row % plane;
}

double *map_to_ref(struct map_shape s, const float *nhwc)
{
    size_t c = (size_t)(s.c - s.padding);
    double *out = fill_nan(map_rows(s) * c * sizeof *out);
    for (size_t row = 0; row < map_rows(s); row++)
        for (size_t k = 0; k < c; k++)
            out[index_in_ref(s, row, k)] = (double)nhwc[row * (size_t)s.c + k];
    return out;
}

double *map_from_ref(struct map_shape s, const double *nchw)
{
    size_t c = (size_t)(s.c - s.padding);
    double *out = fill_nan(map_count(s) * sizeof *out);
    for (size_t row = 0; row < map_rows(s); row++)
        for (size_t k = 0; k < (size_t)s.c; k++)
            out[row * (size_t)s.c + k] =
                k < c ? nchw[index_in_ref(s, row, k)] : 0;
    return out;
}

float *random_map(struct map_shape s, enum kernel_type type, uint64_t seed,
                  float mean, float deviation)
{
    float *x = random_floats(map_count(s), seed, mean, deviation);
    for (size_t i = 0; i < map_count(s); i++)
        x[i] = (int32_t)(i % (size_t)s.c) < s.c - s.padding ? x[i] : 0;
    round_to(type, x, map_count(s));
    return x;
}
