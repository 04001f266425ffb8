/*
 * From stored image to network input: the reference every backend must meet
 * to 1/255. What is done is said at struct batch_item. Local and pure.
 */
#ifndef VOCDIST_BACKEND_PIXELS_H
#define VOCDIST_BACKEND_PIXELS_H

#include "backend/backend.h"

/* `pixels` [size, size, 3]; `out` [3, size, size]. */
void pixels_to_input(const struct batch_item *item, const uint8_t *pixels,
                     int32_t size, const float mean[3], const float std[3],
                     double *out);

#endif
