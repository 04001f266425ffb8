/*
 * Internal to comm*.c: what the implementation that CMake selects (comm_mpi.c,
 * comm_serial.c) provides to comm_open() and comm_close(), and the backoff of
 * both.
 */
#ifndef VOCDIST_COMM_COMM_INTERNAL_H
#define VOCDIST_COMM_COMM_INTERNAL_H

#include "comm/comm.h"

/* Collective: starts the library, fills ranks and hosts, sets the rank of the
 * log. Sets `c->impl` when comm_abort() must end the other ranks, too. */
enum vd_err comm_impl_open(struct comm *c) VD_MUST_USE;

/* Collective, when no rank has an error of its own: completes the flags in
 * flight, waits in a barrier (SITE_SHUTDOWN), ends the library and frees
 * `c->impl`. */
enum vd_err comm_impl_close(struct comm *c) VD_MUST_USE;

/* Between two polls: the longer the wait so far, the longer it sleeps, up to
 * 1 ms. */
void comm_backoff(double waited_s);

#endif
