/*
 * Packing by several ranks: agreement between the steps of pack.h, jobs given
 * to ranks as they become free, and the outcomes' way to rank 0.
 */
#ifndef VOCDIST_PREPROCESS_PACK_RANKS_H
#define VOCDIST_PREPROCESS_PACK_RANKS_H

#include "comm/comm.h"
#include "preprocess/pack.h"

/* Collective: the whole of `vocpack pack`; its verdict is agreed. VD_CONFIG
 * when ranks do not see the same images. */
enum vd_err pack_ranks_run(const struct pack_options *options,
                           char *const *roots, int n_roots,
                           struct comm *comm) VD_MUST_USE;

/*
 * The outcomes of the jobs that a rank has done as bytes, and back into another
 * rank's pack. Local.
 */
void pack_ranks_serialize(const struct pack *p, struct text *out);
void pack_ranks_deserialize(struct pack *p, const void *bytes, size_t n);

#endif
