/*
 * Return codes of MPI as errors. The only file that includes mpi.h. Not part of
 * the serial build.
 */
#ifndef VOCDIST_COMM_COMM_MPI_CHECK_H
#define VOCDIST_COMM_COMM_MPI_CHECK_H

#include "base/err.h"

#include <mpi.h>

/* Local: VD_OK for MPI_SUCCESS, else VD_COMM with the text of
 * MPI_Error_string(). `call` is the source text of the call, whose function
 * name begins the message. */
enum vd_err comm_mpi_check(int rc, const char *call) VD_MUST_USE;

#define MPI_TRY(call) VD_TRY(comm_mpi_check((call), #call))

#endif
