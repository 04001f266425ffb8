/*
 * A phase of a run: a Local function that every rank calls, and its verdict,
 * agreed. What the ranks say in it is held back until it ends, and what
 * several ranks say alike (a folder that is missing everywhere) is said once,
 * by the lowest of them; where memory ended (VD_SYSTEM), also what differs in
 * its numbers only. An injected fault is the phase's own, so it is
 * agreed.
 */
#ifndef VOCDIST_COMM_PHASE_H
#define VOCDIST_COMM_PHASE_H

#include "comm/comm.h"

typedef enum vd_err phase_fn(void *ctx);

/* Collective. */
enum vd_err comm_phase(struct comm *c, enum fault_site site, phase_fn *run,
                       void *ctx) VD_MUST_USE;

#endif
