/*
 * A made-up data set to measure with where there is none: as large as the
 * recipe's pictures (224 x 224, 20 classes) and of no meaning. Each host has
 * one, in TMPDIR or /tmp; all have the same name and bytes.
 */
#ifndef VOCDIST_BENCH_PICTURES_H
#define VOCDIST_BENCH_PICTURES_H

#include "comm/comm.h"

#include <stddef.h>

/* Collective: writes `n` pictures; their folder is owned. */
enum vd_err pictures_make(struct comm *comm, size_t n,
                          char **folder) VD_MUST_USE;
/* Local: removes it, once nobody will open it any more; shards that are open
 * can still be read. */
void pictures_remove(const struct comm *comm, const char *folder);

#endif
