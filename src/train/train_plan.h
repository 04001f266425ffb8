/*
 * How much work a run is and how it is divided: replicas, micro-batch,
 * threads, steps. The `auto` options get the values that this start resolves;
 * the resolved options are saved with the run, so later starts use the same.
 */
#ifndef VOCDIST_TRAIN_TRAIN_PLAN_H
#define VOCDIST_TRAIN_TRAIN_PLAN_H

#include "comm/comm.h"
#include "config/batch.h"
#include "config/config.h"

#include <stdint.h>

struct train_plan {
    struct batch_plan batch;
    int compute_threads, loader_threads; /* of this rank */
    uint64_t last_step;                  /* steps of the whole run */
    uint64_t stop_at; /* train.stop_at of this start; 0: off */
};

/* Local: resolves option `key`, printf-like. */
enum vd_err train_plan_resolve(struct option_set *options, const char *key,
                               const char *fmt, ...) VD_MUST_USE
    __attribute__((format(printf, 3, 4)));

/* Local: takes train.stop_at and `resume`, which count for this start only, out
 * of the options. */
enum vd_err
train_plan_take_start_options(struct train_plan *p, struct option_set *options,
                              const struct config *config) VD_MUST_USE;

/* Collective: threads of this rank. Trained bits depend on the number of
 * compute threads, so all ranks take the smallest share of any rank. */
enum vd_err train_plan_divide_cores(struct train_plan *p, struct comm *comm,
                                    const struct config *config) VD_MUST_USE;

/* Local: batch, threads and the other `auto` options of a step. */
enum vd_err train_plan_resolve_batch(struct train_plan *p,
                                     struct option_set *options,
                                     const struct config *config, int n_ranks,
                                     size_t n_images) VD_MUST_USE;

/* Local, after the batch: steps of the run and of the schedule. */
enum vd_err train_plan_resolve_steps(struct train_plan *p,
                                     struct option_set *options,
                                     const struct config *config,
                                     size_t n_images) VD_MUST_USE;

#endif
