/*
 * Synthetic shards for benchmarks without data: 224 x 224 noise, 20 classes, as
 * large as VOC's. They are in a scratch folder inside train.dir, which all
 * hosts share.
 */
#ifndef VOCDIST_BENCH_SYNTHETIC_IMAGES_H
#define VOCDIST_BENCH_SYNTHETIC_IMAGES_H

#include "comm/comm.h"
#include "run/scratch_dir.h"

#include <stddef.h>

struct synthetic_images {
    struct scratch_dir scratch; /* rank 0 */
    char *folder;               /* owned */
};

/* Collective: rank 0 writes `n` of them; `dir` as for scratch_dir_open(). */
enum vd_err synthetic_images_open(struct synthetic_images *p, struct comm *comm,
                                  const char *dir, size_t n) VD_MUST_USE;
/* Local: removes them; close what was opened later in `dir` first. May be a
 * zeroed one. */
void synthetic_images_close(struct synthetic_images *p);

#endif
