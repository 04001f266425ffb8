/*
 * Weight files (safetensors): torchvision's tensor names for the backbone,
 * "head.*" for the head, in PyTorch's layouts. Local.
 */
#ifndef VOCDIST_MODEL_WEIGHTS_H
#define VOCDIST_MODEL_WEIGHTS_H

#include "model/graph.h"

struct weights_report {
    size_t n_file, n_loaded; /* tensors; batch counters count as loaded */
    bool head;               /* the head was loaded too */
    char *text; /* owned: "216/218 tensors loaded; fc.weight, fc.bias unused;
                   head initialized", or "...; head included" */
};

/* May be a zeroed one. */
void weights_report_clear(struct weights_report *report);

/*
 * Loads a file into canonical buffers (params [n_params], stats [n_stats]).
 * Names may start with "module.", "model.", "backbone." or "_orig_mod.", in any
 * order and number; num_batches_tracked is skipped. Unless `needs_head`, the
 * head is skipped if the file has no head tensor or if its head has other
 * shapes (for example for other classes). All other tensors must be in the
 * file, with the network's shapes and with valid values (model/values.h). Else
 * VD_DATA; the message lists the tensors, and the buffers are partly written.
 * On success the caller owns `report`.
 */
enum vd_err weights_load(const struct graph *g, const char *path,
                         bool needs_head, float *params, float *stats,
                         struct weights_report *report) VD_MUST_USE;

/* The metadata of a weight file, with which it can be used without its run. */
struct weights_metadata {
    char **classes; /* [n_classes] names, owned */
    size_t n_classes;
    int32_t size, width, blocks[4];
    float mean[3], std[3]; /* input normalization, of values in 0..1 */
};

/* May be a zeroed one. */
void weights_metadata_clear(struct weights_metadata *metadata);

/* VD_DATA if the file was not written by weights_save(). On success the caller
 * clears `metadata`. */
enum vd_err weights_metadata_read(struct weights_metadata *metadata,
                                  const char *path) VD_MUST_USE;

/* Writes parameters, statistics and metadata. The file does not depend on time,
 * host or run. VD_NUMERIC, and no file, if a value is invalid
 * (model/values.h). */
enum vd_err weights_save(const struct graph *g, const char *path,
                         const float *params, const float *stats,
                         const struct weights_metadata *metadata) VD_MUST_USE;

#endif
