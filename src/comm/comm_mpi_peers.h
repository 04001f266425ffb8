/*
 * Internal to comm_mpi.c: waits with a time limit, and the control messages
 * between ranks, which detect late ranks and serve comm_claim_index() (comm.h).
 */
#ifndef VOCDIST_COMM_COMM_MPI_PEERS_H
#define VOCDIST_COMM_COMM_MPI_PEERS_H

#include "comm/comm.h"
#include "comm/comm_mpi_check.h"

/* The answer of a rank to this rank's last ping. */
enum liveness { PEER_SILENT, PEER_WAITING, PEER_WORKING };

/* State of the control messages between this rank and one other. */
struct peer {
    MPI_Request ping_send, pong_send; /* may be in flight: keep the buffers */
    int ping_id, pong[2];             /* their buffers */
    enum liveness liveness;
    MPI_Request claim_send; /* on rank 0: of the answer to a claim */
    uint64_t claimed_index; /* its buffer */
};

struct comm_mpi_peers {
    struct comm *comm;   /* borrowed: ranks, hosts, time limit, watchdog */
    MPI_Comm control;    /* owned: for control messages only */
    struct peer *peer;   /* [comm->size], owned */
    int ping_id;         /* of the last ping that this rank sent */
    uint64_t next_index; /* on rank 0: the answer to the next claim */
};

/* Collective, after rank and size of `c` are set. Owned: close and free it. */
enum vd_err comm_mpi_peers_open(struct comm_mpi_peers *p,
                                struct comm *c) VD_MUST_USE;
/* Collective, when no rank sends control messages any more. Sends may still be
 * in flight then, so call comm_mpi_peers_free() after MPI_Finalize(). */
enum vd_err comm_mpi_peers_close(struct comm_mpi_peers *p) VD_MUST_USE;
void comm_mpi_peers_free(struct comm_mpi_peers *p);

/* Local: answers the pings and claims that have arrived, and receives the
 * answers to this rank's own ping. `mine` is the state of this rank. */
void comm_mpi_peers_poll(struct comm_mpi_peers *p, enum liveness mine);

/* Local: polls until done within the time limit, as comm.h describes. VD_COMM
 * after a timeout; the lowest rank that has answers to its ping logs the late
 * ranks, 1 s after the limit. */
enum vd_err comm_mpi_peers_wait(struct comm_mpi_peers *p, enum fault_site site,
                                comm_poll_fn *poll, void *ctx) VD_MUST_USE;
/* Completes an MPI request in the same way. */
enum vd_err comm_mpi_peers_wait_request(struct comm_mpi_peers *p,
                                        enum fault_site site,
                                        MPI_Request *request) VD_MUST_USE;

/* Implements comm_claim_index(), without fault injection. */
enum vd_err comm_mpi_peers_claim(struct comm_mpi_peers *p, enum fault_site site,
                                 uint64_t *index) VD_MUST_USE;

#endif
