/*
 * A trained network for evaluation and export, from a checkpoint or a weight
 * file: graph, values, classes, input size and normalization.
 */
#ifndef VOCDIST_RUN_TRAINED_MODEL_H
#define VOCDIST_RUN_TRAINED_MODEL_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "config/config.h"
#include "data/shard.h"
#include "run/checkpoint.h"

/* Everything is owned. Must not be moved: the options point to `config`. */
struct trained_model {
    struct option_set set; /* the run's settings; for a weight file: defaults */
    struct config config;
    struct graph graph;
    struct checkpoint values; /* with classes and input size */
    float mean[3], std[3];    /* input normalization, of values in 0..1 */
};

/*
 * Collective: every rank reads the head; rank 0 reads the values and broadcasts
 * them. `path` is a checkpoint, a link to one, or a run's folder. Errors as
 * checkpoint_open(), agreed; VD_DATA also for values that are not finite. Call
 * trained_model_clear() also after an error.
 */
enum vd_err trained_model_load_checkpoint(struct trained_model *m,
                                          struct comm *comm,
                                          const char *path) VD_MUST_USE;
/* Collective: the same from a file of trained_model_save_weights(). VD_DATA for
 * a file without the network's head or without the metadata. */
enum vd_err trained_model_load_weights(struct trained_model *m,
                                       struct comm *comm,
                                       const char *path) VD_MUST_USE;
void trained_model_clear(struct trained_model *m);

/* Local: reads a checkpoint in one process. */
enum vd_err trained_model_load_local(struct trained_model *m,
                                     const char *path) VD_MUST_USE;
/* Local: writes the weights as safetensors with torchvision's names and the
 * metadata needed to use them. Equal weights give equal files: no time, host or
 * run is recorded. */
enum vd_err trained_model_save_weights(const struct trained_model *m,
                                       const char *path) VD_MUST_USE;

/* Local: VD_DATA unless the data has these classes and this image size.
 * `folder` is its path, for messages. */
enum vd_err trained_model_check_data(const struct trained_model *m,
                                     const char *folder,
                                     const struct shard_set *data) VD_MUST_USE;

/* Local: allocates weights on a device and copies the values to it. The caller
 * frees them (weights_free()). */
enum vd_err trained_model_upload(const struct trained_model *m,
                                 struct backend *b,
                                 struct weights *w) VD_MUST_USE;

/* Local: spec of an evaluation net; borrows graph and weights. */
struct net_spec trained_model_net_spec(const struct trained_model *m,
                                       struct weights *w, int batch,
                                       int threads);

#endif
