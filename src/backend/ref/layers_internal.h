/* Private to layers: the layers with a sliding window (layers_window.c). */
#ifndef VOCDIST_BACKEND_REF_LAYERS_INTERNAL_H
#define VOCDIST_BACKEND_REF_LAYERS_INTERNAL_H

#include "backend/ref/layers.h"

void layer_conv_forward(const struct layer *layer);
void layer_conv_backward(const struct layer *layer);
void layer_maxpool_forward(const struct layer *layer);
void layer_maxpool_backward(const struct layer *layer);

#endif
