/*
 * The network that a configuration describes, for training and for reading
 * back what was trained. Local.
 */
#ifndef VOCDIST_MODEL_GRAPH_CONFIG_H
#define VOCDIST_MODEL_GRAPH_CONFIG_H

#include "config/config.h"
#include "model/graph.h"

/* `graph` is the ResNet of a checked config for `n_classes` classes and images
 * of `size` x `size` pixels. VD_CONFIG where there is none. */
enum vd_err graph_from_config(const struct config *config, int n_classes,
                              int32_t size, struct graph *graph) VD_MUST_USE;

/* Mean and standard deviation of the input normalisation (data.normalize), of
 * channel values in 0..1. */
void normalization_from_config(const struct config *config, float mean[3],
                               float std[3]);

#endif
