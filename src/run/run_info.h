/*
 * What one start of a run computes, with what and where: the lines at its start
 * and run.json. Rank 0 writes; any rank may log. Local.
 */
#ifndef VOCDIST_RUN_RUN_INFO_H
#define VOCDIST_RUN_RUN_INFO_H

#include "comm/comm.h"
#include "config/batch.h"
#include "config/config.h"
#include "data/shard.h"
#include "model/graph.h"
#include "run/run_folder.h"

#include <stdbool.h>
#include <stdint.h>

/* All borrowed. */
struct run_info {
    const struct option_set *options;
    const struct config *config;
    char *const *argv;
    const struct comm *comm;
    const struct shard_set *train, *val; /* val NULL: no validation */
    const struct graph *graph;
    struct batch_plan batch;
    uint64_t last_step; /* of the run */
    double peak_lr;
    int compute_threads, loader_threads;
    const char *backend, *backend_details, *exchange;
    const char *machine;      /* what bits depend on */
    const char *resumed_from; /* a checkpoint, NULL: from the first step */
    const char *saved_config; /* its settings, NULL: none */
    bool is_branch;           /* that checkpoint is another run's */
    uint64_t step;            /* steps done before this start */
};

/* The settings in a few lines of the log. */
void run_info_log(const struct run_info *info, const struct run_folder *folder);
/* run.json. Logs first how this start differs from the one before
 * (run/run_diff.h). */
enum vd_err run_info_write(const struct run_info *info,
                           const struct run_folder *folder) VD_MUST_USE;

#endif
