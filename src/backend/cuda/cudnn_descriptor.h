/*
 * Descriptors of cuDNN's graph API, which are created, given attributes and
 * finalized; and the errors of cuDNN. Local.
 *
 * Two kinds of results: cudnnStatus_t where a failure is an ordinary answer (an
 * engine does not support a shape), enum vd_err where it is an error.
 */
#ifndef VOCDIST_BACKEND_CUDA_CUDNN_DESCRIPTOR_H
#define VOCDIST_BACKEND_CUDA_CUDNN_DESCRIPTOR_H

#include "base/err.h"

#include <stdint.h>

#include <cudnn_graph.h>

/* Returns the status of a failed call from a function of cudnnStatus_t. */
#define STATUS_TRY(call)                     \
    do {                                     \
        cudnnStatus_t status_ = (call);      \
        if (status_ != CUDNN_STATUS_SUCCESS) \
            return status_;                  \
    } while (0)

/* Raises the error of a failed cuDNN call with cuDNN's last error text:
 * VD_UNSUPPORTED, VD_SYSTEM (out of host memory) or VD_DEVICE. */
enum vd_err cudnn_raise(cudnnStatus_t status, const char *what) VD_MUST_USE;

cudnnStatus_t descriptor_set_int(cudnnBackendDescriptor_t d,
                                 cudnnBackendAttributeName_t name,
                                 int64_t value);
/* Sets an attribute that is another descriptor. */
cudnnStatus_t descriptor_set_child(cudnnBackendDescriptor_t d,
                                   cudnnBackendAttributeName_t name,
                                   cudnnBackendDescriptor_t child);
/* Reads one value of an attribute. */
cudnnStatus_t descriptor_get(cudnnBackendDescriptor_t d,
                             cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, void *value);
/* Reads an attribute of characters, for free(). */
cudnnStatus_t descriptor_get_text(cudnnBackendDescriptor_t d,
                                  cudnnBackendAttributeName_t name, char **out);
/* Destroys *d unless it is NULL, and sets it to NULL. */
void descriptor_free(cudnnBackendDescriptor_t *d);

#endif
