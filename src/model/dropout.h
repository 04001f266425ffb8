/*
 * Which values dropout drops; one definition for every backend.
 *
 * Value `index` (of the node's [c, h, w], counted flat) of the image with
 * key `position` is decided by one word of Philox:
 *
 *     stream    RNG_DROPOUT
 *     position  struct batch_item's position
 *     element   (ordinal << 24) + index / 4
 *     word      index % 4
 *
 * It is dropped (0) when word < rate x 2^32, else scaled by 1 / (1 - rate).
 * ordinal < 256 and index < 2^26. Local and pure.
 */
#ifndef VOCDIST_MODEL_DROPOUT_H
#define VOCDIST_MODEL_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

/* mask[index] = 1 or 0 for all n values of one image. */
void dropout_mask(uint64_t seed, uint64_t position, int32_t ordinal,
                  double rate, size_t n, uint8_t *mask);

#endif
