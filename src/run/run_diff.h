/*
 * Differences from the run being resumed: one log line for each setting that
 * differs from the checkpoint's, and for each fact (program, MPI, ranks, hosts)
 * that differs from the run.json of the previous start. Local, on rank 0.
 */
#ifndef VOCDIST_RUN_RUN_DIFF_H
#define VOCDIST_RUN_RUN_DIFF_H

#include "config/config.h"
#include "store/json.h"

/* All borrowed. */
struct run_diff {
    const struct option_set *options; /* of this start */
    const char *checkpoint;           /* its path, for messages */
    const char *saved_config;         /* its settings as YAML */
    const struct json *now;           /* run.json of this start */
};

/* `path` is the run.json of the previous start. A missing file is not an error;
 * one that cannot be read is a warning. Errors are those of config_diff(). */
enum vd_err run_diff_log(const struct run_diff *diff,
                         const char *path) VD_MUST_USE;

#endif
