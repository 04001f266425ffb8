/*
 * vocpack pack: VOC folders in, data sets (shards, labels.csv, pack.json) out.
 *
 * The work is cut into jobs, one shard each: a fixed number of a split's
 * images by their index in it. Images that are left out make their shard
 * shorter. So the bytes of every file depend neither on the number of threads
 * nor on that of ranks: rank r of N does jobs r, r + N, ...
 *
 *     pack_open      Local, every rank: lists, annotations, classes, jobs
 *     pack_prepare   Local, rank 0: output folders; others wait for it
 *     pack_work      Local, every rank: the shards of the jobs that it gets
 *     pack_finish    Local, rank 0, once it has all ranks' outcomes: verdict,
 *                    labels.csv, pack.json, publishing
 *
 * All splits are published or none; pack_output.c says how.
 */
#ifndef VOCDIST_PREPROCESS_PACK_H
#define VOCDIST_PREPROCESS_PACK_H

#include "base/err.h"
#include "base/text.h"
#include "preprocess/classes.h"
#include "preprocess/diagnostics.h"
#include "preprocess/voc_dataset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pack_empty { PACK_EMPTY_SKIP, PACK_EMPTY_ERROR };

/* Rows of the option table write into it. */
struct pack_options {
    char *output;      /* folder */
    int64_t threads;   /* -1: one per core */
    char *split;       /* "train,val"; "": every annotated image */
    char *classes;     /* file; "": collect them */
    int64_t size;      /* side of a stored image */
    int64_t shard_mib; /* at most, by pixels */
    int empty;         /* enum pack_empty */
    bool skip_bad;
    bool overwrite;
};

struct pack_job {
    int split;
    size_t index;    /* of the shard in its data set */
    size_t first, n; /* members of the split */
};

/* What a job gave: plain values that travel between ranks. */
struct pack_outcome {
    size_t n_images;
    uint64_t digest;
    size_t *class_counts; /* [n_classes], owned */
    struct text labels;   /* its rows of labels.csv */
    struct text images;   /* a struct split_image for each, as bytes */
    struct diagnostics diagnostics;
    bool done; /* by this rank, or taken from another one */
};

/* How several ranks share the jobs. */
struct pack_scheduler {
    /* The job to do next; n_jobs or more: none is left. */
    enum vd_err (*next_job)(void *ctx, size_t *job);
    void (*image_done)(void *ctx); /* after each image; main thread */
    void *ctx;
    bool silent; /* shows no progress: another rank does */
};

struct pack {
    const struct pack_options *options; /* borrowed */
    struct voc_dataset dataset;
    struct classes classes;
    char **folders;     /* [n_splits], owned: where each split goes */
    struct text source; /* the roots' names: "VOC2007+VOC2012" */
    struct pack_job *jobs;
    struct pack_outcome *outcomes; /* [n_jobs] */
    size_t n_jobs;
    int n_threads;
};

enum vd_err pack_open(struct pack *p, const struct pack_options *options,
                      char *const *roots, int n_roots) VD_MUST_USE;
/* VD_CREATE when a finished data set is there and may not be replaced. What an
 * unfinished one left is removed; a finished one stays until pack_finish. */
enum vd_err pack_prepare(const struct pack *p) VD_MUST_USE;
enum vd_err pack_work(struct pack *p,
                      const struct pack_scheduler *scheduler) VD_MUST_USE;
/* VD_DATA when files were bad (each is named) and --skip-bad is not given. */
enum vd_err pack_finish(struct pack *p) VD_MUST_USE;
/* Local, rank 0: removes what was written but is not published. pack_prepare
 * and pack_finish do so when they fail. */
void pack_discard(const struct pack *p);
void pack_close(struct pack *p);

#endif
