/* Shared by the shard*.c files and by the tests of malformed manifests. Local.
 */
#ifndef VOCDIST_DATA_SHARD_INTERNAL_H
#define VOCDIST_DATA_SHARD_INTERNAL_H

#include "data/shard.h"

#define SHARD_MANIFEST           "pack.json"
#define SHARD_MAX_MANIFEST_BYTES ((size_t)8 << 20)
#define SHARD_MAX_CLASS_BYTES    255
#define SHARD_MAX_SOURCE_BYTES   4096
#define SHARD_REMEDY             "pack the data set again, or copy this file again"

/* VD_DATA for an invalid format or sample; readers and writers share these
 * checks. `where` starts the message. */
enum vd_err shard_check_format(const char *where,
                               const struct shard_format *format) VD_MUST_USE;
/* Checks everything except the pixels. */
enum vd_err shard_check_sample(const char *where,
                               const struct shard_format *format,
                               const struct shard_sample *sample) VD_MUST_USE;

/* XXH3-64 over the little-endian digests of n images. */
uint64_t shard_file_digest(const uint64_t *digests, size_t n);

struct shard_manifest {
    int width, height;
    char **classes; /* owned */
    int n_classes;
    struct shard_entry *entries; /* owned */
    size_t n_entries, n_images;
    uint64_t digest;
};
/* `bytes` [n] is the text of the manifest. On success `m` must be cleared. */
enum vd_err shard_manifest_parse(struct shard_manifest *m, const char *where,
                                 const char *bytes, size_t n) VD_MUST_USE;
void shard_manifest_clear(struct shard_manifest *m);

#endif
