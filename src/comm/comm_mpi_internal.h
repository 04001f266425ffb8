/*
 * Internal to comm_mpi*.c: what is behind a struct comm over MPI.
 */
#ifndef VOCDIST_COMM_COMM_MPI_INTERNAL_H
#define VOCDIST_COMM_COMM_MPI_INTERNAL_H

#include "comm/comm_mpi.h"

struct pending_flags {
    MPI_Request request;
    enum fault_site site;
    uint32_t mine, any;
};

/* What a rank has answered to this rank's last question. */
enum liveness { PEER_SILENT, PEER_WAITING, PEER_WORKING };

/* Between this rank and one other. */
struct peer {
    MPI_Request ping_send,
        pong_send; /* sends that may be under way, of these: */
    int ping_id, pong[2];
    enum liveness liveness;
    MPI_Request claim_send;
    uint64_t claimed_index; /* by rank 0: the last number */
};

struct comm_mpi {
    MPI_Comm world, control;
    struct peer *peers;  /* [size], owned */
    int ping_id;         /* the number of the last one */
    uint64_t next_index; /* rank 0: not given to anybody yet */
    struct pending_flags flags[COMM_FLAGS_MAX];
    size_t first, n; /* the ring of those under way */
};

static inline struct comm_mpi *comm_mpi_impl(const struct comm *c)
{
    return c->impl;
}

/* Local: after the communicators were made. */
void comm_mpi_open_peers(struct comm *c);
/* Local: answers the questions and claims of other ranks that have come, and
 * takes the answers to this rank's own question. `mine`: what it does. */
void comm_mpi_poll_peers(struct comm *c, enum liveness mine);

#endif
