/* Shared by the pack*.c files; defined in pack_output.c. */
#ifndef VOCDIST_PREPROCESS_PACK_INTERNAL_H
#define VOCDIST_PREPROCESS_PACK_INTERNAL_H

#include "preprocess/pack.h"

/* The folder into which a split is written before it is published; the caller
 * frees the path. */
char *pack_staging_dir(const struct pack *p, int split);
/* The path of the job's shard in that folder, or as published; the caller frees
 * it. */
char *pack_shard_path(const struct pack *p, const struct pack_job *job,
                      bool is_staged);
/* Moves all splits from their staging folders to their output folders. VD_IO,
 * or VD_CREATE if an old file cannot be removed. */
enum vd_err pack_publish(const struct pack *p) VD_MUST_USE;

#endif
