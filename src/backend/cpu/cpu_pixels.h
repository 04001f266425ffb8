/*
 * From stored image to network input in float: what backend/pixels.h says,
 * to 1/255, fast. Single-threaded: the loader's thread calls it. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_PIXELS_H
#define VOCDIST_BACKEND_CPU_PIXELS_H

#include "backend/backend.h"

/* `pixels` [size, size, 3]; `out` [3, size, size]. */
void cpu_pixels_to_input(const struct batch_item *item, const uint8_t *pixels,
                         int32_t size, const float mean[3], const float std[3],
                         float *out);

#endif
