/* Conversion between float32 and the 16-bit types, eight elements per thread;
 * the tail of n % 8 elements is converted by the thread after the last vector.
 */
#include "kernels_internal.h"

#define VECTOR 8
#define TILE   (VECTOR * (size_t)KERNEL_THREADS)

struct cast_args {
    void *dst;
    const void *src;
    size_t n;
    enum kernel_type to, from;
};

KERNEL(cast_elements, cast_args, a)
{
    for (size_t tile = blockIdx.x * TILE; tile < a.n;
         tile += gridDim.x * TILE) {
        size_t first = tile + VECTOR * (size_t)threadIdx.x;
        float v[VECTOR];
        if (first + VECTOR <= a.n) {
            load8(a.src, first, a.from, v);
            store8(a.dst, first, a.to, v);
            continue;
        }
        for (size_t i = first; i < a.n; i++)
            store1(a.dst, i, load1(a.src, i, a.from), a.to);
    }
}

static int cast_launch(struct kernel_queue queue, struct cast_args args)
{
    return LAUNCH(cast_elements, queue,
                  grid_blocks(queue, (args.n + TILE - 1) / TILE, 1), 1, args);
}

int kernel_cast_from_f32(struct kernel_queue queue, enum kernel_type type,
                         void *dst, const float *src, size_t n)
{
    struct cast_args args = {dst, src, n, type, KERNEL_F32};
    return cast_launch(queue, args);
}

int kernel_cast_to_f32(struct kernel_queue queue, enum kernel_type type,
                       float *dst, const void *src, size_t n)
{
    struct cast_args args = {dst, src, n, KERNEL_F32, type};
    return cast_launch(queue, args);
}
