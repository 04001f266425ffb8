/*
 * The data that a run validated on, as its files say it: an evaluation of its
 * network uses the same unless it is given others. Local.
 */
#ifndef VOCDIST_TRAIN_RUN_DATA_H
#define VOCDIST_TRAIN_RUN_DATA_H

#include "train/trained_model.h"

struct run_data {
    bool is_known;   /* of a checkpoint always */
    char *folder;    /* owned; as the run was given it, "": no validation */
    uint64_t digest; /* shard_set.digest; 0: not known */
};

/* Of a loaded checkpoint: its configuration and state. */
enum vd_err run_data_of_checkpoint(const struct trained_model *m,
                                   struct run_data *out) VD_MUST_USE;
/* Of RUN/weights/FILE: RUN/run.json. Not known for a file anywhere else. */
enum vd_err run_data_of_weights(const char *path,
                                struct run_data *out) VD_MUST_USE;
void run_data_clear(struct run_data *d);

#endif
