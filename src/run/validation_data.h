/*
 * The validation data of a run, as recorded in its files: the default data of
 * vocdist eval for its network. Local.
 */
#ifndef VOCDIST_RUN_VALIDATION_DATA_H
#define VOCDIST_RUN_VALIDATION_DATA_H

#include "run/trained_model.h"

struct validation_data {
    bool is_known;   /* always for a checkpoint */
    char *folder;    /* owned; data.val of the run, "": no validation */
    uint64_t digest; /* shard_set.digest; 0: not known */
};

/* From configuration and state of a loaded checkpoint. VD_DATA for a damaged
 * state. The caller clears *out. */
enum vd_err
validation_data_of_checkpoint(const struct trained_model *m,
                              struct validation_data *out) VD_MUST_USE;
/* For RUN/weights/FILE, from RUN/run.json; not known for other files. VD_DATA
 * for a damaged run.json. The caller clears *out. */
enum vd_err validation_data_of_weights(const char *path,
                                       struct validation_data *out) VD_MUST_USE;
void validation_data_clear(struct validation_data *d);

#endif
