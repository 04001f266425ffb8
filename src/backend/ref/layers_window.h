/* The layers with a sliding window: convolution and max pooling. As layers.h.
 */
#ifndef VOCDIST_BACKEND_REF_LAYERS_WINDOW_H
#define VOCDIST_BACKEND_REF_LAYERS_WINDOW_H

#include "backend/ref/layer.h"

void layer_conv_forward(const struct layer *layer);
void layer_conv_backward(const struct layer *layer);
void layer_maxpool_forward(const struct layer *layer);
void layer_maxpool_backward(const struct layer *layer);

#endif
