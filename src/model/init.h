/*
 * Initial values of tensors: PyTorch's default distributions (see enum
 * graph_init), with this program's random numbers.
 *
 * Element i of tensor "layer1.0.conv1.weight" is a function of
 * (seed; RNG_INIT, hash_bytes() of the name, i) and of the tensor's shape. It
 * does not depend on freezing, on the rest of the network or on the rank. A
 * normal number is rng_normal() times the standard deviation; a uniform number
 * is rng_uniform() scaled to +-bound. Local and pure.
 */
#ifndef VOCDIST_MODEL_INIT_H
#define VOCDIST_MODEL_INIT_H

#include "model/graph.h"

/* One tensor of params or stats; `out` [count]. */
void init_tensor(const struct graph_tensor *tensor, uint64_t seed, float *out);

/* All tensors, in canonical layout: `params` [n_params], `stats` [n_stats]. */
void init_all(const struct graph *g, uint64_t seed, float *params,
              float *stats);
/* The head's tensors only; the others stay unchanged. */
void init_head(const struct graph *g, uint64_t seed, float *params,
               float *stats);

#endif
