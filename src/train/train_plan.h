/*
 * The size of a run and its division: replicas, micro-batch, threads, steps.
 * Options that are `auto` are replaced by the values that this start resolves.
 * They are saved with the run, so later starts use the same values; except for
 * data.loader_threads (per rank, every start) and train.steps (from the epochs,
 * which may grow).
 *
 * `config` is the struct that `options` write to; both are borrowed.
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
    uint64_t last_step;                  /* number of steps of the whole run */
    uint64_t stop_at; /* train.stop_at of this start; 0: off */
};

/* Local: sets option `key` to a value that this start resolved, formatted as by
 * printf(). VD_CONFIG if the value is not allowed. */
enum vd_err train_plan_resolve(struct option_set *options, const char *key,
                               const char *fmt, ...) VD_MUST_USE
    __attribute__((format(printf, 3, 4)));

/* Local: moves train.stop_at into the plan and resets it and `resume`, which
 * apply to this start only, so that they are not saved with the run. */
enum vd_err
train_plan_take_start_options(struct train_plan *p, struct option_set *options,
                              const struct config *config) VD_MUST_USE;

/* Collective: threads of this rank, from the cores that it may use. Trained
 * bits depend on the number of compute threads, so all ranks use the smallest
 * share of any rank. */
enum vd_err train_plan_divide_cores(struct train_plan *p, struct comm *comm,
                                    const struct config *config) VD_MUST_USE;

/* Local, after train_plan_divide_cores(): batch, threads and the other `auto`
 * options of a step. VD_CONFIG if the batch cannot be divided. */
enum vd_err train_plan_resolve_batch(struct train_plan *p,
                                     struct option_set *options,
                                     const struct config *config, int n_ranks,
                                     size_t n_images) VD_MUST_USE;

/* Local, after train_plan_resolve_batch(): steps of the run and of the
 * schedule. */
enum vd_err train_plan_resolve_steps(struct train_plan *p,
                                     struct option_set *options,
                                     const struct config *config,
                                     size_t n_images) VD_MUST_USE;

#endif
