/* clang-format off */
/*
 * Shards: HDF5 files of resized images with their labels.
 *
 *     /images        uint8   [N, H, W, 3]  RGB; one image per chunk, no filter
 *     /class         int32   [N]           of the largest object
 *     /box           float32 [N, 4]        x1 y1 x2 y2, pixels of the stored
 *                                          image, 0-based, x2 y2 exclusive
 *     /size          int32   [N, 2]        original width, height
 *     /id            strings [N]           fixed length, NUL padded
 *     /objects       float32 [M, 6]        x1 y1 x2 y2 class difficult
 *     /object_start  int64   [N + 1]       image n has the objects
 *                                          [start[n], start[n + 1])
 *     /digest        uint64  [N]           see shard_digest()
 *     attributes     format, classes, source
 *
 * A data set is a folder of shards, shard-00000.h5, ..., and the manifest
 * pack.json. The manifest is written last: a folder without it is unfinished.
 * Pixels have no filter (with deflate, reading is 50 times slower), so the
 * digest is checked whenever an image is read. Labels have the fletcher32
 * filter, and HDF5's metadata has its own checksums (format 1.10).
 *
 * Boxes are finite, inside the image and have an area. Ids need not be unique.
 * They contain no control character and no '/', so they can be file names.
 *
 * Everything in a file is checked before it is used. All calls are Local.
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

/* One image with its labels; the pointers are borrowed. */
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
    const char *source; /* origin of the data, informative only */
};

/*
 * XXH3-64 over pixels, class, box, size, id (without NUL), then for each object
 * box, class, difficult; all little-endian.
 */
uint64_t shard_digest(const struct shard_sample *sample, size_t n_pixel_bytes);

/* ---- writing: one file, images in order, visible only after commit ---- */

struct shard_writer;
enum vd_err shard_writer_new(struct shard_writer **out, const char *path,
                             const struct shard_format *format) VD_MUST_USE;
/* Copies the sample. VD_DATA with the sample's id if it is invalid. */
enum vd_err shard_writer_add(struct shard_writer *w,
                             const struct shard_sample *sample) VD_MUST_USE;
/* Publishes the file. `digest` is the digest of all its images' digests.
 * VD_DATA if the shard has no image. Call it once only, also after an error. */
enum vd_err shard_writer_commit(struct shard_writer *w, size_t *n_images,
                                uint64_t *digest) VD_MUST_USE;
/* Frees the writer and removes the file unless it was committed. NULL is
 * allowed. */
void shard_writer_free(struct shard_writer *w);

/* ---- the manifest, pack.json ---- */

struct shard_entry {
    char *file; /* owned: "shard-00000.h5" */
    size_t n_images;
    uint64_t digest;
};
/*
 * Writes pack.json into `folder`; call it after all shards are committed.
 * `report` is a JSON object of the packer (counts, skipped files) and may be
 * NULL. It is stored under "report", or omitted with a warning if the manifest
 * would exceed 8 MiB with it.
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
    uint64_t digest; /* of the data set; a resumed run must have the same */
    /* labels of image i, in memory; owned */
    int32_t *class; /* [n_images] */
    float *box;     /* [n_images, 4] */
    int32_t *size;  /* [n_images, 2] */
    char **id;      /* [n_images], in one block that starts at id[0] */
    struct shard_object *objects;
    int64_t *object_start; /* [n_images + 1] */
    void *impl;            /* struct shard_reader; owned */
};

/*
 * Opens and checks every shard of the manifest and reads all labels; images
 * stay on disk. VD_NOINPUT if there is no folder or no manifest (the remedy is
 * the command that creates them), VD_DATA if a check fails. After an error
 * there is nothing to close.
 */
enum vd_err shard_set_open(struct shard_set *set,
                           const char *folder) VD_MUST_USE;
/*
 * Reads image i into pixels [H, W, 3] and checks its digest. Thread-safe: it
 * calls pread() at the image's file offset and bypasses HDF5's global lock.
 */
enum vd_err shard_set_read(const struct shard_set *set, size_t i,
                           uint8_t *pixels) VD_MUST_USE;
/* May be a zeroed one. */
void shard_set_close(struct shard_set *set);

/*
 * Number of images of `b` that are also in `a`, with equal pixels, id and
 * labels (compared by digest). `example` is the index in `b` of the first of
 * them; it is not written if there is none.
 */
size_t shard_set_count_shared(const struct shard_set *a,
                              const struct shard_set *b, size_t *example);

/* True if `classes` [n] equals the set's class list, in the same order. */
bool shard_set_has_classes(const struct shard_set *set, char *const *classes,
                           int n);

#endif
