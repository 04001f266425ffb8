/*
 * The dropout mask; one definition for all backends.
 *
 * One word of Philox decides value `index` (flat index into the node's
 * [c, h, w]) of the image with key `position`:
 *
 *     stream    RNG_DROPOUT
 *     position  struct batch_item's position, the same on any rank
 *     element   (ordinal << 24) + index / 4
 *     word      index % 4
 *
 * The value is dropped (set to 0) if word < rate x 2^32, else scaled by
 * 1 / (1 - rate). `ordinal` is the index of the dropout node in the graph.
 * ordinal < 256 and index < 2^26. Local and pure.
 */
#ifndef VOCDIST_MODEL_DROPOUT_H
#define VOCDIST_MODEL_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

/* Sets mask[index] to 1 (keep) or 0 (drop) for all n values of one image. */
void dropout_mask(uint64_t seed, uint64_t position, int32_t ordinal,
                  double rate, size_t n, uint8_t *mask);

#endif
