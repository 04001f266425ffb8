/*
 * Description of one start of a run: what it computes, with which program, on
 * which hosts. Written to the log and to run.json. Local, on rank 0.
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
    double peak_lr;     /* of the schedule */
    int compute_threads, loader_threads;
    const char *backend, *backend_details, *exchange;
    const char *machine;      /* device and instruction set */
    const char *resumed_from; /* a checkpoint, NULL: from the first step */
    const char *saved_config; /* its settings, NULL: none */
    bool is_branch;           /* that checkpoint is another run's */
    uint64_t step;            /* steps done before this start */
};

/* Logs data, network, training, machine, ranks and run, a line each. */
void run_info_log(const struct run_info *info, const struct run_folder *folder);
/* Writes run.json (store/atomic.h). Before that, in a resumed run, logs the
 * differences from the previous start (run/run_diff.h). */
enum vd_err run_info_write(const struct run_info *info,
                           const struct run_folder *folder) VD_MUST_USE;

#endif
