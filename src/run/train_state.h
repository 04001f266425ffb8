/*
 * The state of a run other than its tensors, as JSON in the checkpoint:
 * position, losses of the current epoch, lengths of the append files, best
 * value so far. Local.
 */
#ifndef VOCDIST_RUN_TRAIN_STATE_H
#define VOCDIST_RUN_TRAIN_STATE_H

#include "backend/backend.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Sums over images of one epoch. */
struct loss_sums {
    int64_t n;        /* images */
    int64_t n_finite; /* of those, with a finite loss: the divisor of means */
    double l1;        /* of the box, pixels */
    double ce;        /* cross entropy, nats */
    double loss;      /* scaled and weighted (graph_loss_of_image()) */
};

#define TRAIN_STATE_MACHINE_MAX 160

struct train_state {
    uint64_t step;            /* steps done */
    uint64_t epoch;           /* epochs completed */
    struct loss_sums sums[2]; /* of epoch `epoch` and the one after */
    double epoch_seconds;     /* spent training in the current epoch */
    bool has_best;
    double best; /* lowest val_loss, or train_loss without validation */
    /* digest of the validation data that `best` is of; 0: training data */
    uint64_t best_metric_data;
    /* validated epochs since `best`; equal on all ranks */
    uint64_t epochs_without_improvement;
    int64_t metrics_bytes, steps_bytes; /* of metrics.csv, steps.jsonl */
    uint64_t data_digest;               /* of the training data */
    uint64_t total;         /* steps of the whole run; may only grow */
    float scaler[SCALER_N]; /* state of loss scaling; zeros without it */
    bool has_plan;          /* trained with a tuning plan: plan.json */
    uint64_t plan_digest;   /* of its bytes */
    /* device and instruction set; others give other bits */
    char machine[TRAIN_STATE_MACHINE_MAX];
};

/* The state as JSON; the caller frees it. */
char *train_state_format(const struct train_state *s);
/* VD_DATA if `text` is not such a state; `where` is the checkpoint's path. A
 * state of an older version without epochs_without_improvement gives 0, one
 * without loss scaling a scaler of zeros, one without a tuning plan none. */
enum vd_err train_state_parse(struct train_state *s, const char *where,
                              const char *text) VD_MUST_USE;

#endif
