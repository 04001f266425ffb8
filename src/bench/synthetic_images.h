/*
 * A synthetic shard for benchmarks without data: 224 x 224 pixels of noise, 20
 * classes, like VOC. It is in a scratch folder inside train.dir, which all
 * hosts share.
 */
#ifndef VOCDIST_BENCH_SYNTHETIC_IMAGES_H
#define VOCDIST_BENCH_SYNTHETIC_IMAGES_H

#include "comm/comm.h"
#include "run/scratch_dir.h"

#include <stddef.h>

struct synthetic_images {
    struct scratch_dir scratch; /* rank 0 */
    char *folder;               /* owned; the data folder, on all ranks */
};

/* Collective: rank 0 writes `n` images to a scratch folder in `dir`
 * (run/scratch_dir.h). Errors of writing are agreed. Call
 * synthetic_images_close() also after an error. */
enum vd_err synthetic_images_open(struct synthetic_images *p, struct comm *comm,
                                  const char *dir, size_t n) VD_MUST_USE;
/* Local: removes the folder. Close scratch sessions in the same `dir` first, so
 * that `dir` can be removed if it was created. May be a zeroed one. */
void synthetic_images_close(struct synthetic_images *p);

#endif
