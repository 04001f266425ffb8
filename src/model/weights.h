/*
 * Weight files (safetensors): torchvision's names for the backbone, "head.*"
 * for the head, in PyTorch's layouts. Local.
 */
#ifndef VOCDIST_MODEL_WEIGHTS_H
#define VOCDIST_MODEL_WEIGHTS_H

#include "model/graph.h"

struct weights_report {
    size_t n_file, n_loaded; /* tensors; batch counters count as loaded */
    bool head;               /* it was loaded too */
    char *text; /* owned: "216/218 tensors loaded; fc.weight, fc.bias unused;
                   head initialised", or "...; head included" */
};

void weights_report_clear(struct weights_report *report);

/*
 * Loads a file into canonical buffers (params [n_params], stats [n_stats]).
 * Names may start with "module.", "model.", "backbone." or "_orig_mod.", in any
 * order and number; num_batches_tracked is skipped. Unless `needs_head`, a file
 * without any head tensor, or whose head has other shapes (for other classes,
 * say), leaves the head as it is. Every other tensor must be there, in the
 * right shape: VD_DATA names what is not, and the buffers are then partly
 * written. So it is for values that a network may not have (model/values.h).
 */
enum vd_err weights_load(const struct graph *g, const char *path,
                         bool needs_head, float *params, float *stats,
                         struct weights_report *report) VD_MUST_USE;

/* What a file says about itself, so that it can be used without its run. */
struct weights_metadata {
    char **classes; /* owned with its names */
    size_t n_classes;
    int32_t size, width, blocks[4];
    float mean[3], std[3]; /* input normalisation, of values in 0..1 */
};

void weights_metadata_clear(struct weights_metadata *metadata);

/* VD_DATA when the file was not written by weights_save(). */
enum vd_err weights_metadata_read(struct weights_metadata *metadata,
                                  const char *path) VD_MUST_USE;

/* Parameters and statistics of the graph, and the metadata as notes; nothing of
 * the time, the host or the run. VD_NUMERIC, and no file, for values that a
 * network may not have (model/values.h). */
enum vd_err weights_save(const struct graph *g, const char *path,
                         const float *params, const float *stats,
                         const struct weights_metadata *metadata) VD_MUST_USE;

#endif
