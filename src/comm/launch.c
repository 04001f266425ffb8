#include "comm/launch.h"

#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>

#define LAUNCH_REMEDY \
    "start it with: srun --mpi=pmix vocdist, or mpirun vocdist"

/* The integer value of a variable; 0 if it is not set or not an integer. */
static int64_t env_number(const char *variable)
{
    const char *text = getenv(variable);
    int64_t value = 0;
    return text && text_to_int64(text, &value) ? value : 0;
}

static enum vd_err fail_lone_tasks(const char *launcher, int64_t tasks)
{
    // All tasks fail here, each on its own: only the first one logs.
    if (env_number("SLURM_PROCID") > 0 ||
        env_number("OMPI_COMM_WORLD_RANK") > 0)
        return VD_CONFIG;
    return VD_FAIL(VD_CONFIG,
                   "%s started %lld tasks, but each would run alone: MPI "
                   "cannot find the others\n" LAUNCH_REMEDY
                   " (needs a build with MPI)",
                   launcher, (long long)tasks);
}

/* Set by mpirun, and by srun with --mpi=pmix or a PMI. */
static bool has_rank_variables(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") ||
           getenv("PMI_RANK") || getenv("PMI_FD");
}

enum vd_err launch_check_environment(void)
{
    int64_t tasks = env_number("SLURM_STEP_NUM_TASKS");
    if (tasks > 1 && !has_rank_variables())
        return fail_lone_tasks("srun", tasks);
    return VD_OK;
}

enum vd_err launch_check_size(int size)
{
    int64_t by_mpirun = env_number("OMPI_COMM_WORLD_SIZE");
    int64_t by_srun = env_number("SLURM_STEP_NUM_TASKS");
    int64_t allocated = env_number("SLURM_NTASKS");
    if (size > 1)
        return VD_OK;
    if (by_mpirun > 1)
        return fail_lone_tasks("mpirun", by_mpirun);
    if (by_mpirun == 0 && by_srun > 1)
        return fail_lone_tasks("srun", by_srun);
    if (by_mpirun == 0 && by_srun == 0 && allocated > 1)
        log_warn("one rank in a Slurm job of %lld tasks\n" LAUNCH_REMEDY,
                 (long long)allocated);
    return VD_OK;
}
