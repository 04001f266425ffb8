/*
 * Counter-based random numbers, without state: every number is Philox4x32-10 of
 * (seed; stream, position, element), so it does not depend on the rank, the
 * thread or the order of calls.
 *
 *     seed      train.seed of the run (or the seed of the demo data)
 *     stream    the purpose, one of enum rng_stream
 *     position  training position (step x global batch + item), epoch, or
 *               index of the demo image
 *     element   index of the number at that position
 *
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC11);
 * implemented with the Random123 library. All calls are Local and pure.
 */
#ifndef VOCDIST_BASE_RNG_H
#define VOCDIST_BASE_RNG_H

#include <stdint.h>

/* The values determine the bits of every run: append, never renumber. */
enum rng_stream {
    RNG_SHUFFLE = 0,
    RNG_INIT = 1,
    RNG_AUGMENT = 2,
    RNG_DROPOUT = 3,
    RNG_DEMO = 4,
    RNG_TEST = 5,
};

/* Four independent words of 32 random bits. */
void rng_words(uint64_t seed, uint32_t stream, uint64_t position,
               uint32_t element, uint32_t out[4]);

/* Uniform in [0, 1), 53 bits. */
double rng_uniform(uint64_t seed, uint32_t stream, uint64_t position,
                   uint32_t element);

/* Standard normal (Box-Muller). */
double rng_normal(uint64_t seed, uint32_t stream, uint64_t position,
                  uint32_t element);

#endif
