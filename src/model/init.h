/*
 * How tensors start: PyTorch's defaults (see enum graph_init), with numbers
 * of our own.
 *
 * Element i of tensor "layer1.0.conv1.weight" is a function of
 * (seed; RNG_INIT, hash_bytes() of that name, i) and of its shape: the same
 * whatever is frozen, whatever else the network has, and on every rank. A
 * normal number is rng_normal() times its standard deviation, a uniform one
 * rng_uniform() stretched over +-bound. Local and pure.
 */
#ifndef VOCDIST_MODEL_INIT_H
#define VOCDIST_MODEL_INIT_H

#include "model/graph.h"

/* One tensor of either table; `out` [count]. */
void init_tensor(const struct graph_tensor *tensor, uint64_t seed, float *out);

/* All of them, canonical: `params` [n_params], `stats` [n_stats]. */
void init_all(const struct graph *g, uint64_t seed, float *params,
              float *stats);
/* Only the head's. */
void init_head(const struct graph *g, uint64_t seed, float *params,
               float *stats);

#endif
