#include "comm/launch.h"

#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>

#define START_WITH "start it with: srun --mpi=pmix vocdist, or mpirun vocdist"

/* A variable's whole number; 0 when it is not set or not a number. */
static int64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    int64_t value = 0;
    return text && text_to_int64(text, &value) ? value : 0;
}

static enum vd_err refuse(const char *launcher, int64_t tasks)
{
    // Every task comes here, alone: the first one speaks for all.
    if (number_of("SLURM_PROCID") > 0 || number_of("OMPI_COMM_WORLD_RANK") > 0)
        return VD_CONFIG;
    return VD_FAIL(VD_CONFIG,
                   "%s started %lld tasks, but each would run alone: MPI "
                   "cannot find the others\n" START_WITH
                   " (needs a build with MPI)",
                   launcher, (long long)tasks);
}

/* Set by mpirun, or by srun with the kind of start-up that MPI asked for. */
static bool ranks_can_be_found(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") ||
           getenv("PMI_RANK") || getenv("PMI_FD");
}

enum vd_err launch_check_environment(void)
{
    int64_t tasks = number_of("SLURM_STEP_NUM_TASKS");
    if (tasks > 1 && !ranks_can_be_found())
        return refuse("srun", tasks);
    return VD_OK;
}

enum vd_err launch_check_size(int size)
{
    int64_t by_mpirun = number_of("OMPI_COMM_WORLD_SIZE");
    int64_t by_srun = number_of("SLURM_STEP_NUM_TASKS");
    int64_t allocated = number_of("SLURM_NTASKS");
    if (size > 1)
        return VD_OK;
    if (by_mpirun > 1)
        return refuse("mpirun", by_mpirun);
    if (by_mpirun == 0 && by_srun > 1)
        return refuse("srun", by_srun);
    if (by_mpirun == 0 && by_srun == 0 && allocated > 1)
        log_warn("one rank in a Slurm job of %lld tasks\n" START_WITH,
                 (long long)allocated);
    return VD_OK;
}
