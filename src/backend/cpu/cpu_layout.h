/*
 * The cpu backend's layouts and the way to and from canonical ones; `block`
 * is dnn_block(). What "blocked" means is said in cpu_dnnl.h. Pure; Local.
 */
#ifndef VOCDIST_BACKEND_CPU_LAYOUT_H
#define VOCDIST_BACKEND_CPU_LAYOUT_H

#include "model/graph.h"

#include <stdbool.h>
#include <stddef.h>

/* Convolution weights are held blocked where both channel counts allow it. */
bool layout_is_blocked(const struct graph_tensor *t, int block);
void layout_pack(const struct graph_tensor *t, int block, const float *oihw,
                 float *blocked);
void layout_unpack(const struct graph_tensor *t, int block,
                   const float *blocked, float *oihw);

/* Blocked map [batch, c, area] <-> plain; padding channels become zeros. */
void layout_map_to_plain(int batch, int c, size_t area, int block,
                         const float *blocked, float *plain);
void layout_map_to_blocked(int batch, int c, size_t area, int block,
                           const float *plain, float *blocked);

#endif
