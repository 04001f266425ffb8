/*
 * Finds wrong launches, from the variables that launchers set: N tasks that
 * each believe to be alone would all write the same run. Local.
 */
#ifndef VOCDIST_COMM_LAUNCH_H
#define VOCDIST_COMM_LAUNCH_H

#include "base/err.h"

/*
 * Before MPI starts (which would fail in its own, longer words): VD_CONFIG in
 * a Slurm step of several tasks that offers MPI no way to find its ranks. One
 * task speaks for all.
 */
enum vd_err launch_check_environment(void) VD_MUST_USE;

/*
 * When the number of ranks is known: VD_CONFIG where a launcher started
 * several tasks and we are alone; warns of an allocation that is not used.
 */
enum vd_err launch_check_size(int size) VD_MUST_USE;

#endif
