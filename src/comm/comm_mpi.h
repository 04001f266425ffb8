/*
 * For the files that call MPI on the ranks of a struct comm (exchange_mpi.c).
 * Not part of the serial build.
 */
#ifndef VOCDIST_COMM_COMM_MPI_H
#define VOCDIST_COMM_COMM_MPI_H

#include "comm/comm.h"
#include "comm/comm_mpi_check.h"

/* Local: the communicator of all ranks. Borrowed until comm_close();
 * duplicate it (MPI_Comm_dup()) before sending messages. */
MPI_Comm comm_mpi_world(const struct comm *c);

/*
 * Waits for one request, with the time limit of `c`. Spins, then yields,
 * then sleeps, so that a waiting rank does not occupy the cores of the ranks
 * that it waits for. VD_COMM after the limit, see comm.h.
 */
enum vd_err comm_mpi_wait(struct comm *c, enum fault_site site,
                          MPI_Request *request) VD_MUST_USE;

#endif
