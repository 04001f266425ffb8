#include "base/cpus.h"

#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MAX_THREADS 1000000

/* Quota and period in microseconds, as text. "max" (version 2) and "-1"
 * (version 1) mean no limit: 0. */
static double quota_ratio(const char *quota, const char *period)
{
    double q = strtod(quota, NULL), p = strtod(period, NULL);
    return q > 0 && p > 0 ? q / p : 0;
}

static double read_cpu_quota(const char *root, const char *folder, int version)
{
    char quota[64], period[64], path[CGROUP_MAX_PATH + 32], *period_text;
    snprintf(path, sizeof path, "%s/%s", folder,
             version == 2 ? "cpu.max" : "cpu.cfs_quota_us");
    cgroup_read(quota, sizeof quota, root, path);
    if (version == 2) {
        strtod(quota, &period_text);
        return quota_ratio(quota, period_text);
    }
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    cgroup_read(period, sizeof period, root, path);
    return quota_ratio(quota, period);
}

static void min_cpu_quota(void *ctx, const char *root, const char *folder,
                          int version)
{
    struct cpus_quota *least = ctx;
    struct stat info;
    char full[2 * CGROUP_MAX_PATH];
    double cpus = read_cpu_quota(root, folder, version);
    if (cpus <= 0 || (least->cpus > 0 && cpus >= least->cpus))
        return;
    snprintf(full, sizeof full, "%s%s", root, folder);
    *least = (struct cpus_quota){.cpus = cpus};
    if (stat(full, &info) == 0) {
        least->device = (uint64_t)info.st_dev;
        least->id = (uint64_t)info.st_ino;
    }
}

void cpus_read_quota(struct cpus_quota *out, const char *root)
{
    *out = (struct cpus_quota){0};
    cgroup_visit(root, "cpu", min_cpu_quota, out);
}

int cpus_omp_num_threads(void)
{
    const char *text = getenv("OMP_NUM_THREADS");
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : 0;
    bool valid = n > 0 && n <= MAX_THREADS && (*end == '\0' || *end == ',');
    return valid ? (int)n : 0;
}
