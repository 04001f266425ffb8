#include "base/machine.h"

#include <stdio.h>

int64_t machine_peak_memory(void)
{
    char line[256];
    long long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lld kB", &kib) != 1)
            kib = 0;
    if (f)
        fclose(f);
    return 1024 * (int64_t)kib;
}

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
