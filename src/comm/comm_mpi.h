/*
 * For the files that call MPI (comm_mpi.c, exchange_mpi.c), and the only file
 * that includes mpi.h. Not part of the serial build.
 */
#ifndef VOCDIST_COMM_COMM_MPI_H
#define VOCDIST_COMM_COMM_MPI_H

#include "comm/comm.h"

#include <mpi.h>

/* Local: the communicator of all ranks. Borrowed until comm_close();
 * MPI_Comm_dup() it for messages of your own. */
MPI_Comm comm_mpi_world(const struct comm *c);

/* Local: VD_OK for MPI_SUCCESS, else VD_COMM with the text of
 * MPI_Error_string(). `call` is the source text of the call; its function is
 * named in the message. */
enum vd_err comm_mpi_check(int rc, const char *call) VD_MUST_USE;

#define MPI_TRY(call) VD_TRY(comm_mpi_check((call), #call))

/*
 * Waits for one request, with the time limit of `c`. It spins, then yields,
 * then sleeps, so that a waiting rank does not occupy the cores of the ranks
 * that it waits for. VD_COMM when the limit passes, see comm.h.
 */
enum vd_err comm_mpi_wait(struct comm *c, enum fault_site site,
                          MPI_Request *request) VD_MUST_USE;

#endif
