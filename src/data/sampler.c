#include "data/sampler.h"

#include "base/err.h"
#include "base/rng.h"

#include <stddef.h>

/* Rounds of the Feistel network. The statistical test of positions
 * (test_sampler.c) fails with two rounds and passes with four; eight leave a
 * margin for what the test does not detect. */
#define ROUNDS 8

/* Fisher-Yates shuffle, inside out. */
static uint64_t shuffle_exact(const struct sampler *s, uint64_t epoch,
                              uint64_t index)
{
    uint8_t order[SAMPLER_EXACT];
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t w[4];
        rng_words(s->seed, RNG_SHUFFLE, epoch, k, w);
        /* uniform in 0..k up to a bias of 2^-26 */
        size_t at = (size_t)((uint64_t)w[0] * (k + 1) >> 32);
        order[k] = order[at];
        order[at] = (uint8_t)k;
    }
    return order[index];
}

/* A permutation of 0 .. 4^half_bits - 1. */
static uint64_t feistel_permute(const struct sampler *s, uint64_t epoch,
                                uint32_t half_bits, uint64_t value)
{
    const uint32_t mask = ((uint32_t)1 << half_bits) - 1;
    uint32_t left = (uint32_t)(value >> half_bits),
             right = (uint32_t)value & mask;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t w[4], old = right;
        rng_words(s->seed, RNG_SHUFFLE, epoch, round << 16 | right, w);
        right = left ^ (w[0] & mask);
        left = old;
    }
    return (uint64_t)left << half_bits | right;
}

/* Cycle walking: apply the permutation of the next power of four until the
 * result is below n. */
static uint64_t shuffle_cycle_walk(const struct sampler *s, uint64_t epoch,
                                   uint64_t index)
{
    uint32_t half_bits = 1;
    while ((uint64_t)1 << (2 * half_bits) < s->n)
        half_bits++;
    do /* terminates: the cycle returns to `index`, which is below n */
        index = feistel_permute(s, epoch, half_bits, index);
    while (index >= s->n);
    return index;
}

uint64_t sampler_at(const struct sampler *s, uint64_t position, uint64_t *epoch)
{
    VD_ASSERT(s->n >= 1 && s->n <= SAMPLER_MAX_IMAGES);
    uint64_t this_epoch = position / s->n, index = position % s->n;
    if (epoch)
        *epoch = this_epoch;
    if (!s->shuffle)
        return index;
    return s->n <= SAMPLER_EXACT ? shuffle_exact(s, this_epoch, index)
                                 : shuffle_cycle_walk(s, this_epoch, index);
}

uint64_t sampler_steps(uint64_t n, uint64_t epochs, uint64_t batch)
{
    uint64_t positions = 0;
    VD_ASSERT(batch > 0 && !__builtin_mul_overflow(n, epochs, &positions));
    return positions / batch + (positions % batch != 0);
}

uint64_t sampler_last_step(uint64_t n, uint64_t epoch, uint64_t batch)
{
    return sampler_steps(n, epoch + 1, batch) - 1;
}
