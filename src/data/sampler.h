/*
 * The order of the images in training: maps a position to an image. The sampler
 * has no state: the image is a function of (seed, number of images, position),
 * so any rank can compute any position in any order, also after a restart.
 *
 * Epochs are permutations of all images, one after the other. Step s takes the
 * positions [s x batch, (s + 1) x batch), which may span two epochs. Epochs,
 * steps and positions count from 0.
 *
 * Up to SAMPLER_EXACT images, a Fisher-Yates shuffle draws the permutation
 * exactly. A larger permutation is a Feistel network over the next power of
 * four with cycle walking, which takes constant expected time and no memory.
 * All calls are Local and pure.
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

/* Index of the image at `position`, and the epoch; `epoch` may be NULL. */
uint64_t sampler_at(const struct sampler *s, uint64_t position,
                    uint64_t *epoch);

/* ceil(epochs x n / batch). The last step may take images of the next epoch. */
uint64_t sampler_steps(uint64_t n, uint64_t epochs, uint64_t batch);
/* The step that contains the epoch's last position. */
uint64_t sampler_last_step(uint64_t n, uint64_t epoch, uint64_t batch);

#endif
