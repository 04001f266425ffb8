/*
 * A synthetic data set to measure with where there is none: as large as the
 * recipe's images (224 x 224, 20 classes) and of no meaning. It is in a
 * scratch folder in the folder of runs, which all hosts see, and goes with it.
 */
#ifndef VOCDIST_BENCH_SYNTHETIC_IMAGES_H
#define VOCDIST_BENCH_SYNTHETIC_IMAGES_H

#include "comm/comm.h"
#include "train/scratch.h"

#include <stddef.h>

struct synthetic_images {
    struct scratch scratch; /* rank 0 */
    char *folder;           /* owned */
};

/* Collective: rank 0 writes `n` of them; `dir` as for scratch_open(). */
enum vd_err synthetic_images_open(struct synthetic_images *p, struct comm *comm,
                                  const char *dir, size_t n) VD_MUST_USE;
/* Local: removes them, after what was opened later in `dir`. May be a zeroed
 * one. */
void synthetic_images_close(struct synthetic_images *p);

#endif
