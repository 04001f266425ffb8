/*
 * Detects wrong launches from the environment variables of the launchers: N
 * tasks that each run as a single rank would all write to the same run. Local.
 */
#ifndef VOCDIST_COMM_LAUNCH_H
#define VOCDIST_COMM_LAUNCH_H

#include "base/err.h"

/*
 * Call it before MPI_Init, whose own message is long and less clear. VD_CONFIG
 * in a Slurm step of several tasks that does not provide MPI with PMI or PMIx.
 * Only the first task logs the message.
 */
enum vd_err launch_check_environment(void) VD_MUST_USE;

/*
 * Call it when the number of ranks, `size`, is known. VD_CONFIG if a launcher
 * started several tasks but `size` is 1. Warns if one rank runs in a Slurm
 * allocation of several tasks.
 */
enum vd_err launch_check_size(int size) VD_MUST_USE;

#endif
