/* Internal to cudnn_conv*.c: the structs of cudnn_conv.h, and engines. */
#ifndef VOCDIST_BACKEND_CUDA_CUDNN_CONV_INTERNAL_H
#define VOCDIST_BACKEND_CUDA_CUDNN_CONV_INTERNAL_H

#include "backend/cuda/cudnn_conv.h"
#include "backend/cuda/cudnn_descriptor.h"

#define CONV_ALIGNMENT           16  /* of arrays, bytes */
#define CONV_WORKSPACE_ALIGNMENT 256 /* bytes */

struct conv_device {
    cudnnBackendDescriptor_t properties;
    char name[64];
    int32_t version; /* compute capability: 900 for sm_90 */
    int32_t multiprocessors;
    char text[160];
};

/* Unique ids of the tensors in an operation graph. */
enum conv_tensor { TENSOR_X = 1, TENSOR_W, TENSOR_Y, TENSOR_END };

struct conv {
    struct conv_device *device; /* borrowed */
    struct conv_spec spec;
    char text[CONV_MAX_TEXT];
    cudnnBackendDescriptor_t tensor[TENSOR_END], convolution, operation, graph;
};

/* ---- engines: cudnn_conv_engine.c ---- */

/* A configuration of an engine for the operation of a conv. */
struct engine_config {
    cudnnBackendDescriptor_t engine, choice[CONV_MAX_KNOBS], config;
    unsigned notes, behavior; /* bit 1 << note, of the engine */
};

/* Builds the configuration; clear it also after a failure. */
cudnnStatus_t engine_config_make(const struct conv *c,
                                 const struct conv_engine *e,
                                 struct engine_config *out);
void engine_config_clear(struct engine_config *config);
/* False if a note of the engine is forbidden in the conv's precision. */
bool engine_is_allowed(const struct conv *c,
                       const struct engine_config *config);
/* Finalizes a plan of the configuration. */
cudnnStatus_t engine_finalize(const struct conv *c,
                              const struct engine_config *config,
                              cudnnBackendDescriptor_t *plan,
                              size_t *workspace);
/* conv_find(), which ends when it has max_n candidates. */
enum vd_err engine_find(const struct conv *c, enum conv_search search,
                        size_t max_workspace, size_t max_n,
                        struct conv_candidates *out) VD_MUST_USE;

#endif
