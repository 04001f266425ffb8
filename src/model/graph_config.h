/*
 * The network of a configuration, for training and for trained models. Local.
 */
#ifndef VOCDIST_MODEL_GRAPH_CONFIG_H
#define VOCDIST_MODEL_GRAPH_CONFIG_H

#include "config/config.h"
#include "model/graph.h"

/* Builds the ResNet of a checked config for `n_classes` classes and images of
 * `size` x `size` pixels. VD_CONFIG if resnet_check() fails. The caller clears
 * `graph`. */
enum vd_err graph_from_config(const struct config *config, int n_classes,
                              int32_t size, struct graph *graph) VD_MUST_USE;

/* Mean and standard deviation of the input normalization (data.normalize), of
 * channel values in 0..1. */
void normalization_from_config(const struct config *config, float mean[3],
                               float std[3]);

#endif
