/*
 * Forward and backward of one node, in double. Arrays are [batch, c, h, w].
 * Forward overwrites its output; backward adds to the gradients. Local and
 * pure.
 */
#ifndef VOCDIST_BACKEND_REF_LAYERS_H
#define VOCDIST_BACKEND_REF_LAYERS_H

#include "backend/ref/layer.h"

/* True if the node is a norm that uses the statistics of the batch. */
bool layer_uses_batch(const struct layer *layer);

void layer_forward(const struct layer *layer);
void layer_backward(const struct layer *layer);

#endif
