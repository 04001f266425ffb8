/*
 * Packing on several ranks: agreement between the steps of pack.h, dynamic
 * assignment of jobs to ranks, and the gather of the outcomes on rank 0.
 */
#ifndef VOCDIST_PREPROCESS_PACK_RANKS_H
#define VOCDIST_PREPROCESS_PACK_RANKS_H

#include "comm/comm.h"
#include "preprocess/pack.h"

/* Collective: all steps of `vocpack pack`; the error is agreed. VD_CONFIG if
 * the ranks do not see the same images. */
enum vd_err pack_ranks_run(const struct pack_options *options,
                           char *const *roots, int n_roots,
                           struct comm *comm) VD_MUST_USE;

/*
 * Local: the outcomes of the jobs that this rank has done, as bytes; and back
 * into another rank's pack, in the same program. `out` is appended to, owned by
 * the caller.
 */
void pack_ranks_serialize(const struct pack *p, struct text *out);
void pack_ranks_deserialize(struct pack *p, const void *bytes, size_t n);

#endif
