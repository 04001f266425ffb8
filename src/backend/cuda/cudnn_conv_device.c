/*
 * Devices that plans are made for, and handles.
 *
 * A device is a DEVICEPROP descriptor of cuDNN, made from the number of a
 * device or from JSON. cuDNN returns either as
 * JSON (of a description its own text); name, compute capability
 * and number of multiprocessors are read from there, so they are the same for a
 * device and for its description.
 */
#include "backend/cuda/cudnn_conv_internal.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- devices ---- */

/* The text behind a member's colon; NULL if it is absent. */
static const char *find_member(const char *json, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(json, quoted);
    return at ? at + strlen(quoted) : NULL;
}

static bool read_int(const char *json, const char *key, int32_t *out)
{
    const char *at = find_member(json, key);
    return at && sscanf(at, "%d", out) == 1 && *out > 0;
}

/* Fills name, version and multiprocessors from cuDNN's description. */
static bool read_properties(struct conv_device *d, const char *json)
{
    const char *name = find_member(json, "deviceName");
    if (!name || sscanf(name, " \"%63[^\"\\]\"", d->name) != 1 ||
        !read_int(json, "deviceVer", &d->version) ||
        !read_int(json, "multiProcessorCount", &d->multiprocessors))
        return false;
    size_t v = cudnnGetVersion();
    snprintf(d->text, sizeof d->text,
             "%s, sm_%d, %d multiprocessors, cuDNN %zu.%zu.%zu", d->name,
             d->version / 10, d->multiprocessors, v / 10000, v / 100 % 100,
             v % 100);
    return true;
}

static cudnnStatus_t make_properties(struct conv_device *d,
                                     cudnnBackendAttributeName_t name,
                                     cudnnBackendAttributeType_t type,
                                     int64_t n, const void *values, char **json)
{
    STATUS_TRY(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
                                            &d->properties));
    STATUS_TRY(cudnnBackendSetAttribute(d->properties, name, type, n, values));
    STATUS_TRY(cudnnBackendFinalize(d->properties));
    return descriptor_get_text(d->properties,
                               CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
}

enum vd_err conv_device_open(int device, struct conv_device **out)
{
    struct conv_device *d = xcalloc(1, sizeof *d);
    int32_t id = device;
    char *json = NULL, what[32];
    snprintf(what, sizeof what, "device %d", device);
    cudnnStatus_t status = make_properties(d, CUDNN_ATTR_DEVICEPROP_DEVICE_ID,
                                           CUDNN_TYPE_INT32, 1, &id, &json);
    enum vd_err err = VD_OK;
    if (status != CUDNN_STATUS_SUCCESS)
        err = cudnn_raise(status, what);
    else if (!read_properties(d, json))
        err =
            VD_FAIL(VD_DEVICE,
                    "cuDNN: %s: unknown description %s\nuse another version of "
                    "cuDNN",
                    what, json);
    free(json);
    if (err) {
        conv_device_free(d);
        return err;
    }
    *out = d;
    return VD_OK;
}

enum vd_err conv_device_describe(const char *where, const char *json, size_t n,
                                 struct conv_device **out)
{
    struct conv_device *d = xcalloc(1, sizeof *d);
    char *all = NULL;
    cudnnStatus_t status =
        make_properties(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                        CUDNN_TYPE_CHAR, (int64_t)n, json, &all);
    bool ok = status == CUDNN_STATUS_SUCCESS && read_properties(d, all);
    free(all);
    if (!ok) {
        char last[256] = "";
        cudnnGetLastErrorString(last, sizeof last);
        conv_device_free(d);
        return VD_FAIL(VD_DATA,
                       "%s: cuDNN rejects this device description: %s (%s)\n"
                       "give all members that cuDNN writes for a device",
                       where, cudnnGetErrorString(status), last);
    }
    *out = d;
    return VD_OK;
}

void conv_device_free(struct conv_device *d)
{
    if (!d)
        return;
    descriptor_free(&d->properties);
    free(d);
}

const char *conv_device_text(const struct conv_device *d)
{
    return d->text;
}

/* ---- handles ---- */

enum vd_err conv_handle_new(struct CUstream_st *stream,
                            struct cudnnContext **out)
{
    cudnnHandle_t handle = NULL;
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnSetStream(handle, stream);
    if (status != CUDNN_STATUS_SUCCESS) {
        enum vd_err err = cudnn_raise(status, "handle");
        conv_handle_free(handle);
        return err;
    }
    *out = handle;
    return VD_OK;
}

void conv_handle_free(struct cudnnContext *handle)
{
    if (handle)
        cudnnDestroy(handle);
}
