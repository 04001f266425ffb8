/*
 * Converts a stored image to the network's input in float: a fast version of
 * backend/pixels.h, which it matches to 1/255. Single-threaded; the prefetch
 * thread calls it. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_PIXELS_H
#define VOCDIST_BACKEND_CPU_PIXELS_H

#include "backend/backend.h"

/* `pixels`: [size, size, 3], 0..255; `out`: [3, size, size]. mean and std
 * normalize values in 0..1, per channel. */
void cpu_pixels_to_input(const struct batch_item *item, const uint8_t *pixels,
                         int32_t size, const float mean[3], const float std[3],
                         float *out);

#endif
