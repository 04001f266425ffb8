/*
 * Training and validation set of a run: opens them and checks that they match
 * each other and are equal on all ranks.
 */
#ifndef VOCDIST_TRAIN_TRAIN_DATA_H
#define VOCDIST_TRAIN_TRAIN_DATA_H

#include "comm/comm.h"
#include "config/config.h"
#include "data/shard.h"

#include <stdbool.h>
#include <stdint.h>

struct train_data {
    struct shard_set train, val;
    bool has_val; /* data.val is not empty */
};

/*
 * Local: opens data.train and data.val. VD_DATA unless images are square and
 * both sets have the same size and classes; else errors as shard_set_open().
 * Warns of images in both sets and of classes that occur in validation only.
 * Call train_data_close() also after an error.
 */
enum vd_err train_data_open(struct train_data *d,
                            const struct config *config) VD_MUST_USE;
/* Collective: VD_CONFIG unless all ranks opened the same data. */
enum vd_err train_data_compare(const struct train_data *d,
                               struct comm *comm) VD_MUST_USE;
/* Digest of the validation set, 0: none. Local. */
uint64_t train_data_val_digest(const struct train_data *d);
/* Local. May be a zeroed one. */
void train_data_close(struct train_data *d);

#endif
