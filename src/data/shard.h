/* clang-format off */
/*
 * Shards: HDF5 files of resized images with their labels.
 *
 *     /images        uint8   [N, H, W, 3]  RGB; one image a chunk, no filter
 *     /class         int32   [N]           of the largest object
 *     /box           float32 [N, 4]        x1 y1 x2 y2, pixels of the stored
 *                                          image, 0-based, x2 y2 exclusive
 *     /size          int32   [N, 2]        original width, height
 *     /id            strings [N]           fixed length, NUL padded
 *     /objects       float32 [M, 6]        x1 y1 x2 y2 class difficult
 *     /object_start  int64   [N + 1]       of n: [start[n], start[n + 1])
 *     /digest        uint64  [N]           see shard_digest()
 *     attributes     format, classes, source
 *
 * A folder of shards is a data set: shard-00000.h5, ..., with pack.json, the
 * manifest, which is written last: a folder without it is unfinished.
 * Pixels carry no filter (deflate costs 50 times the reading speed), so the
 * digest is checked whenever an image is read; labels carry fletcher32, and
 * metadata HDF5's own checksums (format 1.10).
 *
 * Boxes are finite, inside the image and have an area. Ids need not be
 * unique; they have no control character and no '/', so that they can become
 * file names.
 *
 * Nothing in a file is trusted before it was checked. All calls are Local.
 */
/* clang-format on */
#ifndef VOCDIST_DATA_SHARD_H
#define VOCDIST_DATA_SHARD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARD_FORMAT      1
#define SHARD_MAX_ID      255 /* bytes */
#define SHARD_MAX_CLASSES 10000
#define SHARD_MAX_SIDE    4096  /* pixels */
#define SHARD_MAX_OBJECTS 10000 /* in one image */
#define SHARD_MAX_IMAGES  16384 /* in one file */
#define SHARD_MAX_FILES   10000 /* in one data set */

struct shard_object {
    float box[4]; /* as /box */
    int32_t class;
    int32_t difficult; /* 0 or 1 */
};

/* One image with everything that is known of it. */
struct shard_sample {
    const uint8_t *pixels; /* [H, W, 3] */
    int32_t class;
    float box[4];
    int32_t size[2]; /* original width, height */
    const char *id;
    const struct shard_object *objects;
    int n_objects;
};

/* What all shards of a data set have in common. */
struct shard_format {
    int width, height;
    const char *const *classes;
    int n_classes;
    const char *source; /* where it came from, for people */
};

/*
 * XXH3-64 of pixels, class, box, size, id (without NUL), then every object as
 * box, class, difficult; all little-endian.
 */
uint64_t shard_digest(const struct shard_sample *sample, size_t n_pixel_bytes);

/* ---- writing: one file, images in order, appears whole on commit ---- */

struct shard_writer;
enum vd_err shard_writer_new(struct shard_writer **out, const char *path,
                             const struct shard_format *format) VD_MUST_USE;
/* Copies all of it. VD_DATA, naming the id, when the sample is not valid. */
enum vd_err shard_writer_add(struct shard_writer *w,
                             const struct shard_sample *sample) VD_MUST_USE;
/* Publishes the file; `digest` is that of all its images' digests. Refused
 * without an image. Once only, whatever it returns. */
enum vd_err shard_writer_commit(struct shard_writer *w, size_t *n_images,
                                uint64_t *digest) VD_MUST_USE;
/* Frees; removes the file unless it was committed. NULL is fine. */
void shard_writer_free(struct shard_writer *w);

/* ---- the manifest, pack.json ---- */

struct shard_entry {
    char *file; /* owned: "shard-00000.h5" */
    size_t n_images;
    uint64_t digest;
};
/*
 * Writes pack.json into `folder`, last of all. `report` is the packer's own
 * JSON object text (counts, skipped files), stored as it is unless it is
 * longer than 8 MB, may be NULL.
 */
enum vd_err shard_write_manifest(const char *folder,
                                 const struct shard_format *format,
                                 const struct shard_entry *entries, size_t n,
                                 const char *report) VD_MUST_USE;

/* ---- reading a whole data set ---- */

struct shard_set {
    int width, height;
    char **classes; /* owned */
    int n_classes;
    size_t n_images;
    uint64_t digest; /* of the data set: identity of a run */
    /* labels of image i, all in memory; owned */
    int32_t *class; /* [n_images] */
    float *box;     /* [n_images, 4] */
    int32_t *size;  /* [n_images, 2] */
    char **id;      /* [n_images], all in one block: id[0] */
    struct shard_object *objects;
    int64_t *object_start; /* [n_images + 1] */
    void *impl;            /* files, addresses of images, digests */
};

/*
 * Opens and checks every shard named by the manifest and reads all labels;
 * images stay on disk. VD_NOINPUT without a folder or manifest (the message
 * says how to make one), VD_DATA when anything does not hold.
 */
enum vd_err shard_set_open(struct shard_set *set,
                           const char *folder) VD_MUST_USE;
/*
 * Reads image i into pixels [H, W, 3] and checks its digest. Thread-safe:
 * a plain pread() at the image's address, past HDF5's global lock.
 */
enum vd_err shard_set_read(const struct shard_set *set, size_t i,
                           uint8_t *pixels) VD_MUST_USE;
void shard_set_close(struct shard_set *set);

/*
 * How many images of `b` are in `a` as well: pixels, id and labels, by their
 * digests. `example`: the first of them, by its index in `b`.
 */
size_t shard_set_count_shared(const struct shard_set *a,
                              const struct shard_set *b, size_t *example);

/* Is `classes` [n] this set's list, in its order? */
bool shard_set_has_classes(const struct shard_set *set, char *const *classes,
                           int n);

#endif
