/*
 * A phase of a run: every rank calls a Local function, then the ranks agree on
 * its result. The log messages of the phase are buffered until it ends. Ranks
 * that have identical messages (a folder that is missing on all) log them once,
 * on the lowest of these ranks; for VD_SYSTEM (out of memory) messages that
 * differ only in their digits count as identical. A fault injected at the site
 * is a result of the phase, so the ranks agree on it, too.
 */
#ifndef VOCDIST_COMM_PHASE_H
#define VOCDIST_COMM_PHASE_H

#include "comm/comm.h"

typedef enum vd_err phase_fn(void *ctx);

/* Collective: returns the agreed result of `run`. */
enum vd_err comm_phase(struct comm *c, enum fault_site site, phase_fn *run,
                       void *ctx) VD_MUST_USE;

#endif
