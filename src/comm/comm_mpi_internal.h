/*
 * Internal to comm_mpi*.c: what is behind a struct comm over MPI.
 */
#ifndef VOCDIST_COMM_COMM_MPI_INTERNAL_H
#define VOCDIST_COMM_COMM_MPI_INTERNAL_H

#include "comm/comm_mpi.h"

struct flags {
    MPI_Request request;
    enum fault_site site;
    uint32_t mine, any;
};

/* What a rank has answered to this rank's last question. */
enum liveness { PEER_SILENT, PEER_WAITS, PEER_WORKS };

/* Between this rank and one other. */
struct peer {
    MPI_Request asking, answering; /* sends that may be under way, of these: */
    int question, answer[2];
    enum liveness liveness;
    MPI_Request giving;
    uint64_t given; /* by rank 0: the last number */
};

struct comm_mpi {
    MPI_Comm world, alarm;
    struct peer *peers;   /* [size], owned */
    int question;         /* the number of the last one */
    uint64_t next_number; /* rank 0: not given to anybody yet */
    struct flags flags[COMM_FLAGS_MAX];
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
void comm_mpi_serve(struct comm *c, enum liveness mine);

#endif
