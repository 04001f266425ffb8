/*
 * Internal to comm_mpi*.c: the state of a struct comm over MPI.
 */
#ifndef VOCDIST_COMM_COMM_MPI_INTERNAL_H
#define VOCDIST_COMM_COMM_MPI_INTERNAL_H

#include "comm/comm_mpi.h"

struct pending_flags {
    MPI_Request request;
    enum fault_site site;
    uint32_t mine, any;
};

/* The answer of a rank to this rank's last ping. */
enum liveness { PEER_SILENT, PEER_WAITING, PEER_WORKING };

/* State of the control messages between this rank and one other. */
struct peer {
    MPI_Request ping_send, pong_send; /* may be in flight, of the buffers */
    int ping_id, pong[2];
    enum liveness liveness;
    MPI_Request claim_send; /* on rank 0: the answer, of the buffer */
    uint64_t claimed_index;
};

struct comm_mpi {
    MPI_Comm world, control;
    struct peer *peers;  /* [size], owned */
    int ping_id;         /* of the last ping that this rank sent */
    uint64_t next_index; /* on rank 0: the next number to give out */
    struct pending_flags flags[COMM_FLAGS_MAX];
    size_t first, n; /* a ring of reductions in flight */
};

static inline struct comm_mpi *comm_mpi_impl(const struct comm *c)
{
    return c->impl;
}

/* Local: call it after the communicators were created. */
void comm_mpi_open_peers(struct comm *c);
/* Local: answers the pings and claims that have arrived, and receives the
 * answers to this rank's own ping. `mine` is the state of this rank. */
void comm_mpi_poll_peers(struct comm *c, enum liveness mine);

#endif
