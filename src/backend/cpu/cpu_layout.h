/*
 * Conversion between the canonical layouts and the cpu backend's blocked ones,
 * which cpu_dnnl.h defines. `block` is dnn_block(). Pure; Local.
 */
#ifndef VOCDIST_BACKEND_CPU_LAYOUT_H
#define VOCDIST_BACKEND_CPU_LAYOUT_H

#include "model/graph.h"

#include <stdbool.h>
#include <stddef.h>

/* True for convolution weights whose two channel counts are multiples of
 * `block`: the net stores these blocked. */
bool layout_is_blocked(const struct graph_tensor *t, int block);
/* Weights of tensor `t`: canonical to blocked, and back. */
void layout_pack(const struct graph_tensor *t, int block, const float *oihw,
                 float *blocked);
void layout_unpack(const struct graph_tensor *t, int block,
                   const float *blocked, float *oihw);

/* Maps [batch, c, area]: blocked to plain, and back. To blocked, the padding
 * channels become zeros. */
void layout_map_to_plain(int batch, int c, size_t area, int block,
                         const float *blocked, float *plain);
void layout_map_to_blocked(int batch, int c, size_t area, int block,
                           const float *plain, float *blocked);

#endif
