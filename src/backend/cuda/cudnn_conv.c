/*
 * Convolutions as operation graphs of cuDNN: three tensors, a convolution
 * descriptor, one operation, a graph of that operation.
 *
 * cuDNN takes dimensions in the order n, c, h, w and strides that define the
 * layout. With c innermost that is NHWC for maps and KRSC for weights:
 *
 *     x [64, 56, 56, 128]  dimensions 64 128 56 56  strides 401408 1 7168 128
 *
 * A tensor's unique id is its role (enum conv_tensor), whatever the direction.
 */
#include "backend/cuda/cudnn_conv_internal.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

int32_t conv_padded_channels(int32_t c)
{
    return (c + 7) / 8 * 8;
}

int32_t conv_out_size(const struct conv_spec *s, int32_t size)
{
    return (size + 2 * s->pad - s->kernel) / s->stride + 1;
}

void conv_spec_text(const struct conv_spec *s, char text[CONV_MAX_TEXT])
{
    static const char *const direction[CONV_DIRECTIONS] = {
        "forward", "backward_data", "backward_weights"};
    static const char *const precision[BACKEND_PRECISIONS] = {"fp32", "tf32",
                                                              "bf16", "fp16"};
    snprintf(text, CONV_MAX_TEXT,
             "%s %s x %dx%dx%dx%d w %dx%dx%dx%d stride %d pad %d%s",
             direction[s->direction], precision[s->precision], s->batch, s->h,
             s->w, s->c, s->out_c, s->kernel, s->kernel, s->c, s->stride,
             s->pad, s->accumulate ? " accumulate" : "");
}

static cudnnDataType_t data_type(enum backend_precision precision)
{
    if (precision == BACKEND_BF16)
        return CUDNN_DATA_BFLOAT16;
    return precision == BACKEND_FP16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

/* A packed tensor [n, h, w, c]. */
static cudnnStatus_t make_tensor(struct conv *conv, enum conv_tensor role,
                                 int64_t n, int64_t h, int64_t w, int64_t c)
{
    cudnnBackendDescriptor_t *d = &conv->tensor[role];
    cudnnDataType_t type = data_type(conv->spec.precision);
    int64_t dimensions[] = {n, c, h, w};
    int64_t strides[] = {h * w * c, 1, w * c, c};
    STATUS_TRY(
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, d));
    STATUS_TRY(cudnnBackendSetAttribute(*d, CUDNN_ATTR_TENSOR_DATA_TYPE,
                                        CUDNN_TYPE_DATA_TYPE, 1, &type));
    STATUS_TRY(cudnnBackendSetAttribute(*d, CUDNN_ATTR_TENSOR_DIMENSIONS,
                                        CUDNN_TYPE_INT64, 4, dimensions));
    STATUS_TRY(cudnnBackendSetAttribute(*d, CUDNN_ATTR_TENSOR_STRIDES,
                                        CUDNN_TYPE_INT64, 4, strides));
    STATUS_TRY(descriptor_set_int(*d, CUDNN_ATTR_TENSOR_UNIQUE_ID, role));
    STATUS_TRY(descriptor_set_int(*d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT,
                                  CONV_ALIGNMENT));
    return cudnnBackendFinalize(*d);
}

static cudnnStatus_t make_tensors(struct conv *c)
{
    const struct conv_spec *s = &c->spec;
    STATUS_TRY(make_tensor(c, TENSOR_X, s->batch, s->h, s->w, s->c));
    STATUS_TRY(make_tensor(c, TENSOR_W, s->out_c, s->kernel, s->kernel, s->c));
    return make_tensor(c, TENSOR_Y, s->batch, conv_out_size(s, s->h),
                       conv_out_size(s, s->w), s->out_c);
}

static cudnnStatus_t make_convolution(struct conv *c)
{
    cudnnBackendDescriptor_t *d = &c->convolution;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t pad[] = {c->spec.pad, c->spec.pad}, dilation[] = {1, 1};
    int64_t stride[] = {c->spec.stride, c->spec.stride};
    const struct {
        cudnnBackendAttributeName_t name;
        const int64_t *values;
    } pairs[] = {{CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, pad},
                 {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, pad},
                 {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, stride},
                 {CUDNN_ATTR_CONVOLUTION_DILATIONS, dilation}};
    STATUS_TRY(
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, d));
    STATUS_TRY(cudnnBackendSetAttribute(*d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
                                        CUDNN_TYPE_DATA_TYPE, 1, &compute));
    STATUS_TRY(cudnnBackendSetAttribute(*d, CUDNN_ATTR_CONVOLUTION_CONV_MODE,
                                        CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    STATUS_TRY(descriptor_set_int(*d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        STATUS_TRY(cudnnBackendSetAttribute(*d, pairs[i].name, CUDNN_TYPE_INT64,
                                            2, pairs[i].values));
    return cudnnBackendFinalize(*d);
}

/* The attributes of the operation of one direction. */
struct operation_names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t alpha, beta, convolution, tensor[TENSOR_END];
};

static const struct operation_names operation_names[CONV_DIRECTIONS] = {
    [CONV_FORWARD] =
        {.type = CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
         .alpha = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
         .beta = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
         .convolution = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
         .tensor = {[TENSOR_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    [TENSOR_W] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                    [TENSOR_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y}},
    [CONV_BACKWARD_DATA] =
        {.type = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
         .alpha = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
         .beta = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
         .convolution = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
         .tensor = {[TENSOR_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                    [TENSOR_W] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                    [TENSOR_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY}},
    [CONV_BACKWARD_WEIGHTS] =
        {.type = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
         .alpha = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
         .beta = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
         .convolution = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
         .tensor = {[TENSOR_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                    [TENSOR_W] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                    [TENSOR_Y] =
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY}},
};

/* result = alpha convolution + beta result */
static cudnnStatus_t make_operation(struct conv *c)
{
    const struct operation_names *names = &operation_names[c->spec.direction];
    cudnnBackendDescriptor_t *d = &c->operation;
    float alpha = 1, beta = c->spec.accumulate ? 1 : 0;
    STATUS_TRY(cudnnBackendCreateDescriptor(names->type, d));
    STATUS_TRY(cudnnBackendSetAttribute(*d, names->alpha, CUDNN_TYPE_FLOAT, 1,
                                        &alpha));
    STATUS_TRY(
        cudnnBackendSetAttribute(*d, names->beta, CUDNN_TYPE_FLOAT, 1, &beta));
    STATUS_TRY(descriptor_set_child(*d, names->convolution, c->convolution));
    for (int role = TENSOR_X; role < TENSOR_END; role++)
        STATUS_TRY(
            descriptor_set_child(*d, names->tensor[role], c->tensor[role]));
    return cudnnBackendFinalize(*d);
}

static cudnnStatus_t make_graph(struct conv *c)
{
    STATUS_TRY(make_tensors(c));
    STATUS_TRY(make_convolution(c));
    STATUS_TRY(make_operation(c));
    STATUS_TRY(cudnnBackendCreateDescriptor(
        CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &c->graph));
    STATUS_TRY(descriptor_set_child(c->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS,
                                    c->operation));
    return cudnnBackendFinalize(c->graph);
}

static void check_spec(const struct conv_spec *s)
{
    VD_ASSERT(s->batch > 0 && s->h > 0 && s->w > 0 && s->c > 0 && s->out_c > 0);
    VD_ASSERT(s->c % 8 == 0 && s->out_c % 8 == 0);
    VD_ASSERT(s->kernel > 0 && s->stride > 0 && s->pad >= 0);
    VD_ASSERT(conv_out_size(s, s->h) > 0 && conv_out_size(s, s->w) > 0);
    VD_ASSERT(!s->accumulate || s->direction == CONV_BACKWARD_DATA);
}

enum vd_err conv_new(struct conv_device *d, const struct conv_spec *spec,
                     struct conv **out)
{
    check_spec(spec);
    struct conv *c = xcalloc(1, sizeof *c);
    c->device = d;
    c->spec = *spec;
    conv_spec_text(spec, c->text);
    cudnnStatus_t status = make_graph(c);
    if (status != CUDNN_STATUS_SUCCESS) {
        enum vd_err err = cudnn_raise(status, c->text);
        conv_free(c);
        return err;
    }
    *out = c;
    return VD_OK;
}

void conv_free(struct conv *c)
{
    if (!c)
        return;
    descriptor_free(&c->graph);
    descriptor_free(&c->operation);
    descriptor_free(&c->convolution);
    for (int role = TENSOR_X; role < TENSOR_END; role++)
        descriptor_free(&c->tensor[role]);
    free(c);
}
