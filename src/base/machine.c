#include "base/machine.h"

#if defined(__x86_64__)

/* The sets form a ladder in practice: the highest rung tells them all. */
const char *machine_instruction_set(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni"))
        return "x86-64 avx512vnni";
    if (__builtin_cpu_supports("avx512f"))
        return "x86-64 avx512f";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "x86-64 avx2 fma";
    return __builtin_cpu_supports("sse4.2") ? "x86-64 sse4.2" : "x86-64";
}

#elif defined(__aarch64__)

const char *machine_instruction_set(void)
{
    return "aarch64";
}

#else

const char *machine_instruction_set(void)
{
    return "other";
}

#endif
