/*
 * Converts a stored image to network input. This is the reference: the input of
 * every backend must agree with it to within 1/255. struct batch_item
 * (data/batch_item.h) defines the transformation. Local and pure.
 */
#ifndef VOCDIST_BACKEND_PIXELS_H
#define VOCDIST_BACKEND_PIXELS_H

#include "backend/backend.h"

/* `pixels` [size, size, 3]; `out` [3, size, size]. */
void pixels_to_input(const struct batch_item *item, const uint8_t *pixels,
                     int32_t size, const float mean[3], const float std[3],
                     double *out);

#endif
