/* A mask depends on the seed, the position of the image in the training, the
 * layer and the element: not on the rank, thread or backend that computes it.
 */
#include "model/dropout.h"

#include "base/rng.h"

void dropout_mask(uint64_t seed, uint64_t position, int32_t ordinal,
                  double rate, size_t n, uint8_t *mask)
{
    const double limit = rate * 0x1p32;
    for (size_t at = 0; at < n; at += 4) {
        uint32_t words[4];
        uint32_t element = ((uint32_t)ordinal << 24) + (uint32_t)(at / 4);
        rng_words(seed, RNG_DROPOUT, position, element, words);
        for (size_t k = 0; k < 4 && at + k < n; k++)
            mask[at + k] = !((double)words[k] < limit);
    }
}
