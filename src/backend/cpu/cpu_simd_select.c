/* Selects the compilation of cpu_simd.c for the instruction set in effect. */
#include "backend/cpu/cpu_simd.h"

#include "backend/cpu/cpu_dnnl.h"

const struct simd *simd_get(void)
{
    return dnn_vector_bits() == 512 ? &simd_512 : &simd_256;
}
