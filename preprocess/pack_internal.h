/* Shared by the pack*.c files. */
#ifndef VOCDIST_PREPROCESS_PACK_INTERNAL_H
#define VOCDIST_PREPROCESS_PACK_INTERNAL_H

#include "preprocess/pack.h"

/* The folder that a split is written into before it is published. Owned. */
char *pack_staging_dir(const struct pack *p, int split);
/* The job's shard there, or where it is published. Owned. */
char *pack_shard_path(const struct pack *p, const struct pack_job *job,
                      bool is_staged);
/* All splits from their staging folders to where they belong. */
enum vd_err pack_publish(const struct pack *p) VD_MUST_USE;

#endif
