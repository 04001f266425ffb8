/* Shared by the pack*.c files; defined in pack_output.c. */
#ifndef VOCDIST_PREPROCESS_PACK_INTERNAL_H
#define VOCDIST_PREPROCESS_PACK_INTERNAL_H

#include "preprocess/pack.h"

/* The folder into which a split is written before it is published. Owned. */
char *pack_staging_dir(const struct pack *p, int split);
/* The path of the job's shard in that folder, or as published. Owned. */
char *pack_shard_path(const struct pack *p, const struct pack_job *job,
                      bool is_staged);
/* Moves all splits from their staging folders to their output folders. */
enum vd_err pack_publish(const struct pack *p) VD_MUST_USE;

#endif
