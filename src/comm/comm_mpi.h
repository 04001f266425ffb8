/*
 * For the files that speak MPI themselves (comm_mpi.c, exchange_mpi.c) and
 * the only place that includes mpi.h. Not there in the serial build.
 */
#ifndef VOCDIST_COMM_COMM_MPI_H
#define VOCDIST_COMM_COMM_MPI_H

#include "comm/comm.h"

#include <mpi.h>

/* Local: all ranks. Borrowed until comm_close(); dup it for own traffic. */
MPI_Comm comm_mpi_world(const struct comm *c);

/* Local: the library's own words for a return code, as VD_COMM. */
enum vd_err comm_mpi_check(int rc, const char *call) VD_MUST_USE;

#define MPI_TRY(call) VD_TRY(comm_mpi_check((call), #call))

/*
 * Waits for one request with the comm's time limit: spins, then yields, then
 * sleeps, so that a waiting rank does not take the cores of those it waits
 * for. VD_COMM when time is up, see comm.h.
 */
enum vd_err comm_mpi_wait(struct comm *c, enum fault_site site,
                          MPI_Request *request) VD_MUST_USE;

#endif
