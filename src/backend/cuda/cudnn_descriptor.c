/* Attributes of cuDNN's descriptors, and cuDNN's errors. */
#include "backend/cuda/cudnn_descriptor.h"
#include "base/alloc.h"
#include "base/memory.h"

#include <stdlib.h>

cudnnStatus_t descriptor_set_int(cudnnBackendDescriptor_t d,
                                 cudnnBackendAttributeName_t name,
                                 int64_t value)
{
    return cudnnBackendSetAttribute(d, name, CUDNN_TYPE_INT64, 1, &value);
}

cudnnStatus_t descriptor_set_child(cudnnBackendDescriptor_t d,
                                   cudnnBackendAttributeName_t name,
                                   cudnnBackendDescriptor_t child)
{
    return cudnnBackendSetAttribute(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                    &child);
}

cudnnStatus_t descriptor_get(cudnnBackendDescriptor_t d,
                             cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, void *value)
{
    int64_t n = 0;
    STATUS_TRY(cudnnBackendGetAttribute(d, name, type, 1, &n, value));
    return n == 1 ? CUDNN_STATUS_SUCCESS
                  : CUDNN_STATUS_INTERNAL_ERROR_UNEXPECTED_VALUE;
}

cudnnStatus_t descriptor_get_text(cudnnBackendDescriptor_t d,
                                  cudnnBackendAttributeName_t name, char **out)
{
    int64_t n = 0;
    STATUS_TRY(cudnnBackendGetAttribute(d, name, CUDNN_TYPE_CHAR, 0, &n, NULL));
    char *text = xcalloc((size_t)n + 1, 1);
    cudnnStatus_t status =
        cudnnBackendGetAttribute(d, name, CUDNN_TYPE_CHAR, n, &n, text);
    if (status != CUDNN_STATUS_SUCCESS) {
        free(text);
        return status;
    }
    *out = text;
    return CUDNN_STATUS_SUCCESS;
}

void descriptor_free(cudnnBackendDescriptor_t *d)
{
    if (*d)
        cudnnBackendDestroyDescriptor(*d);
    *d = NULL;
}

#define INSTALLATION_REMEDY                                               \
    "check the driver (nvidia-smi) and that all libcudnn*.so.9 that are " \
    "loaded belong to one version"

enum vd_err cudnn_raise(cudnnStatus_t status, const char *what)
{
    char last[256] = "";
    cudnnGetLastErrorString(last, sizeof last);
    const char *name = cudnnGetErrorString(status);
    if (status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED)
        return memory_raise_oom("cuDNN", 0);
    switch (CUDNN_STATUS_CATEGORY((int)status)) {
    case 1000:
        return VD_FAIL(VD_DEVICE, "cuDNN: %s: %s (%s)\n" INSTALLATION_REMEDY,
                       what, name, last);
    case 2000:
        return VD_FAIL(VD_DEVICE,
                       "cuDNN: %s: %s (%s)\nthis is a bug of vocdist, or this "
                       "version of cuDNN is not supported; another precision "
                       "(train.precision) may work",
                       what, name, last);
    case 3000:
        return VD_FAIL(VD_UNSUPPORTED,
                       "cuDNN: %s: %s (%s)\nuse another precision "
                       "(train.precision) or micro-batch, or a newer cuDNN",
                       what, name, last);
    default:
        return VD_FAIL(VD_DEVICE,
                       "cuDNN: %s: %s (%s)\ncheck the device with nvidia-smi "
                       "and the kernel log (dmesg, Xid errors)",
                       what, name, last);
    }
}
