/*
 * Which image is at which position of the training. No state: the answer is
 * a function of (seed, number of images, position), so any rank may ask for
 * any position, in any order, after any restart.
 *
 * Epochs are permutations of all images laid end to end; step s takes the
 * positions [s x batch, (s + 1) x batch), which may straddle two epochs.
 * Epochs, steps and positions count from 0.
 *
 * A permutation of up to SAMPLER_EXACT images is drawn exactly (Fisher and
 * Yates); a larger one is a Feistel network over the next power of four,
 * walked until it lands inside, which takes constant time and no memory. All
 * calls are Local and pure.
 */
#ifndef VOCDIST_DATA_SAMPLER_H
#define VOCDIST_DATA_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#define SAMPLER_EXACT      64
#define SAMPLER_MAX_IMAGES ((uint64_t)1 << 32)

struct sampler {
    uint64_t seed, n; /* n in 1..SAMPLER_MAX_IMAGES */
    bool shuffle;     /* false: every epoch in data order */
};

/* `epoch` may be NULL. */
uint64_t sampler_at(const struct sampler *s, uint64_t position,
                    uint64_t *epoch);

/* ceil(epochs x n / batch); the last step fills up from the next epoch. */
uint64_t sampler_steps(uint64_t n, uint64_t epochs, uint64_t batch);
/* The step that holds the epoch's last position: the epoch ends with it. */
uint64_t sampler_last_step(uint64_t n, uint64_t epoch, uint64_t batch);

#endif
