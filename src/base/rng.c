#include "base/rng.h"

#include <Random123/philox.h>
#include <math.h>

void rng_words(uint64_t seed, uint32_t stream, uint64_t position,
               uint32_t element, uint32_t out[4])
{
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t counter = {
        {(uint32_t)position, (uint32_t)(position >> 32), element, stream}};
    philox4x32_ctr_t words = philox4x32(counter, key);
    for (int i = 0; i < 4; i++)
        out[i] = words.v[i];
}

/* The upper 53 of 64 bits as a number in [0, 1): the precision of a double. */
static double uniform_from_words(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
    return (double)bits * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint32_t stream, uint64_t position,
                   uint32_t element)
{
    uint32_t w[4];
    rng_words(seed, stream, position, element, w);
    return uniform_from_words(w[0], w[1]);
}

double rng_normal(uint64_t seed, uint32_t stream, uint64_t position,
                  uint32_t element)
{
    const double two_pi = 6.283185307179586;
    uint32_t w[4];
    rng_words(seed, stream, position, element, w);
    double radius = sqrt(-2.0 * log(1.0 - uniform_from_words(w[0], w[1])));
    return radius * cos(two_pi * uniform_from_words(w[2], w[3]));
}
