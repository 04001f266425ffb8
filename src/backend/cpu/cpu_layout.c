#include "backend/cpu/cpu_layout.h"

bool layout_is_blocked(const struct graph_tensor *t, int block)
{
    return t->n_dims == 4 && t->dims[0] % block == 0 && t->dims[1] % block == 0;
}

/* Offset of the canonical element (out, in, 0) in [out / B, in / B, window, B
 * in, B out]. Consecutive elements of the window are B x B apart. */
static size_t blocked_at(const struct graph_tensor *t, size_t block, size_t out,
                         size_t in, size_t window)
{
    size_t blocks_in = (size_t)t->dims[1] / block;
    size_t tile = (out / block) * blocks_in + in / block;
    return (tile * window * block + in % block) * block + out % block;
}

static size_t kernel_area(const struct graph_tensor *t)
{
    return (size_t)t->dims[2] * (size_t)t->dims[3];
}

void layout_pack(const struct graph_tensor *t, int block, const float *oihw,
                 float *blocked)
{
    size_t block_size = (size_t)block, window = kernel_area(t);
    for (size_t o = 0; o < (size_t)t->dims[0]; o++) {
        for (size_t i = 0; i < (size_t)t->dims[1]; i++) {
            float *to = blocked + blocked_at(t, block_size, o, i, window);
            for (size_t k = 0; k < window; k++)
                to[k * block_size * block_size] = *oihw++;
        }
    }
}

void layout_unpack(const struct graph_tensor *t, int block,
                   const float *blocked, float *oihw)
{
    size_t block_size = (size_t)block, window = kernel_area(t);
    for (size_t o = 0; o < (size_t)t->dims[0]; o++) {
        for (size_t i = 0; i < (size_t)t->dims[1]; i++) {
            const float *from =
                blocked + blocked_at(t, block_size, o, i, window);
            for (size_t k = 0; k < window; k++)
                *oihw++ = from[k * block_size * block_size];
        }
    }
}

void layout_map_to_plain(int batch, int c, size_t area, int block,
                         const float *blocked, float *plain)
{
    size_t block_size = (size_t)block;
    for (int n = 0; n < batch; n++) {
        for (int first = 0; first < c; first += block) {
            int width = c - first < block ? c - first : block;
            for (size_t k = 0; k < (size_t)width; k++) {
                for (size_t i = 0; i < area; i++)
                    plain[k * area + i] = blocked[i * block_size + k];
            }
            plain += (size_t)width * area;
            blocked += block_size * area;
        }
    }
}

void layout_map_to_blocked(int batch, int c, size_t area, int block,
                           const float *plain, float *blocked)
{
    size_t block_size = (size_t)block;
    for (int n = 0; n < batch; n++) {
        for (int first = 0; first < c; first += block) {
            size_t width = (size_t)(c - first < block ? c - first : block);
            for (size_t i = 0; i < area; i++) {
                for (size_t k = 0; k < block_size; k++)
                    blocked[i * block_size + k] =
                        k < width ? plain[k * area + i] : 0;
            }
            plain += width * area;
            blocked += block_size * area;
        }
    }
}
