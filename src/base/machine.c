#include "base/machine.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)

/* In practice each level includes the lower ones, so the highest is enough. */
const char *machine_isa(void)
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

const char *machine_isa(void)
{
    return "aarch64";
}

#else

const char *machine_isa(void)
{
    return "other";
}

#endif

/* The text after "KEY :" in a file of /proc. Owned; NULL: not found. */
static char *proc_value(const char *path, const char *key)
{
    char line[512], *value = NULL;
    FILE *f = fopen(path, "re");
    while (f && !value && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (colon && !strncmp(line, key, strlen(key)))
            value = xstrdup(text_trim(colon + 1));
    }
    if (f)
        fclose(f);
    return value;
}

char *machine_cpu_model(void)
{
    char *name = proc_value("/proc/cpuinfo", "model name");
    return name ? name : xstrdup("unknown");
}

double machine_load_average(void)
{
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : 0;
}
