/*
 * vocpack pack: converts VOC folders to data sets (shards, labels.csv,
 * pack.json).
 *
 * The work is divided into jobs of one shard each: a fixed range of a split's
 * images. Images that are left out make their shard shorter. So the bytes of
 * every file depend neither on the number of threads nor on the number of
 * ranks or on which rank runs which job.
 *
 *     pack_open      Local, every rank: lists, annotations, classes, jobs
 *     pack_prepare   Local, rank 0: output folders; before any pack_work
 *     pack_work      Local, every rank: writes the shards of its jobs
 *     pack_finish    Local, rank 0, with the outcomes of all ranks: checks the
 *                    diagnostics, writes labels.csv and pack.json, publishes
 *
 * Either all splits are published or none (pack_output.c).
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

/* Filled from the option table in main.c. */
struct pack_options {
    char *output;      /* folder */
    int64_t threads;   /* -1: one per core */
    char *split;       /* "train,val"; "": every annotated image */
    char *classes;     /* file; "": collect the names */
    int64_t size;      /* width and height of a stored image, pixels */
    int64_t shard_mib; /* largest shard, MiB of pixels */
    int empty;         /* enum pack_empty */
    bool skip_bad;
    bool overwrite;
};

struct pack_job {
    int split;
    size_t index;    /* of the shard in its data set */
    size_t first, n; /* range of the split's members */
};

/* The result of a job; sent to rank 0 (pack_ranks.h). */
struct pack_outcome {
    size_t n_images;
    uint64_t digest;      /* of the shard */
    size_t *class_counts; /* [n_classes], owned: images with this label */
    struct text labels;   /* its rows of labels.csv */
    struct text images;   /* struct split_image [n_images], as bytes */
    struct diagnostics diagnostics;
    bool done; /* by this rank, or received from another one */
};

/* How several ranks share the jobs. */
struct pack_scheduler {
    /* The next job of this rank; n_jobs or more if none is left. */
    enum vd_err (*next_job)(void *ctx, size_t *job);
    void (*image_done)(void *ctx); /* after each image; calling thread */
    void *ctx;                     /* borrowed */
    bool silent; /* no progress display: another rank shows it */
};

struct pack {
    const struct pack_options *options; /* borrowed */
    struct voc_dataset dataset;
    struct classes classes;
    char **folders;     /* [n_splits], owned: output folder of each split */
    struct text source; /* the roots' labels: "VOC2007+VOC2012" */
    struct pack_job *jobs;
    struct pack_outcome *outcomes; /* [n_jobs] */
    size_t n_jobs;
    int n_threads;
};

/* VD_USAGE for invalid options; errors of voc_dataset_open() and of the class
 * list. `options` is borrowed until pack_close(). */
enum vd_err pack_open(struct pack *p, const struct pack_options *options,
                      char *const *roots, int n_roots) VD_MUST_USE;
/* VD_CREATE if an output folder contains a finished data set and `overwrite` is
 * not set. Removes the files of an unfinished data set; a finished one stays
 * until pack_finish. */
enum vd_err pack_prepare(const struct pack *p) VD_MUST_USE;
enum vd_err pack_work(struct pack *p,
                      const struct pack_scheduler *scheduler) VD_MUST_USE;
/* VD_DATA if files are unusable (the log names each) and `skip_bad` is not set,
 * if images have no usable object and `empty` is PACK_EMPTY_ERROR, or if a
 * split has no usable image. */
enum vd_err pack_finish(struct pack *p) VD_MUST_USE;
/* Local, rank 0: removes files that are written but not published. pack_prepare
 * and pack_finish do this when they fail. */
void pack_discard(const struct pack *p);
void pack_close(struct pack *p);

#endif
