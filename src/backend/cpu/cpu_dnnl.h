/*
 * The one place that knows oneDNN (2.x and 3.x): convolution, linear and max
 * pooling of float32 as objects that are made once and executed many times.
 * What differs between the versions is in cpu_dnnl_api.h.
 *
 * Making an object chooses its algorithms and says how much memory they need;
 * dnn_commit() then generates the code of all of them. Before it nothing can
 * be executed.
 *
 * Maps are "blocked": [n, ceil(c / B), h, w, B] with B = dnn_block() and zeros
 * in the channels beyond c; or "plain": [n, c, h, w]. Vectors are [n, c].
 * Weights are canonical ([out, in, k, k]) or "blocked" ([out / B, in / B, k,
 * k, B in, B out], when both channel counts are multiples of B).
 *
 * Which algorithm runs is a pure function of the arguments and of the
 * instruction set in effect. Objects of one struct dnn are used by one thread
 * at a time; different ones share nothing. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_DNNL_H
#define VOCDIST_BACKEND_CPU_DNNL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Channels per block with the instruction set in effect: 16 or 8. */
int dnn_block(void);
int32_t dnn_padded_channels(int32_t channels);
/* "oneDNN 2.6.3, avx512_core" */
void dnn_describe(char *text, size_t n);
/* 512, 256 or 0: bits of the vectors that our own kernels may use. */
int dnn_vector_bits(void);

struct dnn; /* what the objects of one net share: stream, memory */

enum vd_err dnn_new(struct dnn **out) VD_MUST_USE;
void dnn_free(struct dnn *d);
/* Once, after the last object was made: generates their code and allocates
 * what they share. */
enum vd_err dnn_commit(struct dnn *d) VD_MUST_USE;
/* Memory held by this net's objects. */
size_t dnn_bytes(const struct dnn *d);

enum dnn_direction { DNN_FWD, DNN_BWD_DATA, DNN_BWD_WEIGHTS, DNN_DIRECTIONS };

/* True of oneDNN's portable loops ("ref:any"), which are 10 to 1000 times
 * slower than the code that it generates. The names that can be asked for
 * below are static; NULL: the object does not have that direction. */
bool dnn_is_reference(const char *implementation);

/* Scratch memory that objects need while they work, and forget. */
enum dnn_work { DNN_PACK, DNN_FORWARD, DNN_BACKWARD, DNN_WORKS };
/* Bytes for that work of the objects made since the last such question. */
size_t dnn_take_scratch_bytes(struct dnn *d, enum dnn_work work);
/* Borrowed by all that follows; at least as much as was asked for. */
void dnn_use_scratch(struct dnn *d, void *scratch);

struct dnn_conv_spec {
    int32_t batch, ic, ih, iw, oc, oh, ow, kernel, stride, pad;
    bool plain_src;       /* else blocked; the result is always blocked */
    bool blocked_weights; /* of what pack and backward get; else canonical */
    bool folded;          /* forward only: + bias, then as the next two say */
    bool sum;             /* folded: added to what dst holds */
    bool relu;            /* folded: the last thing */
    bool backward_weights, backward_data;
};

struct dnn_conv;

enum vd_err dnn_conv_new(struct dnn *d, const struct dnn_conv_spec *spec,
                         struct dnn_conv **out) VD_MUST_USE;
void dnn_conv_free(struct dnn_conv *c);
const char *dnn_conv_implementation(const struct dnn_conv *c,
                                    enum dnn_direction direction);
/* Elements of the packed copies of its weights that it works with, a multiple
 * of 16; 0: it takes them as they are. */
size_t dnn_conv_packed(const struct dnn_conv *c);
/* Where they are: 64-byte aligned, borrowed, of several equal objects. */
void dnn_conv_use_packed(struct dnn_conv *c, float *packed);
/* Fills them: to be called whenever `weights` changed, before the next use. */
enum vd_err dnn_conv_pack(struct dnn_conv *c, const float *weights) VD_MUST_USE;
/* `weights` are those of the last pack; with `folded` bias [padded oc]. */
enum vd_err dnn_conv_forward(struct dnn_conv *c, const float *src,
                             const float *weights, const float *bias,
                             float *dst) VD_MUST_USE;
/* Fastest where weights_grad is 64-byte aligned. */
enum vd_err dnn_conv_backward_weights(struct dnn_conv *c, const float *src,
                                      const float *dst_grad,
                                      float *weights_grad) VD_MUST_USE;
enum vd_err dnn_conv_backward_data(struct dnn_conv *c, const float *weights,
                                   const float *dst_grad,
                                   float *src_grad) VD_MUST_USE;

struct dnn_linear; /* weights [out, in], bias [out] */

enum vd_err dnn_linear_new(struct dnn *d, int32_t batch, int32_t in,
                           int32_t out_width, bool backward,
                           struct dnn_linear **out) VD_MUST_USE;
void dnn_linear_free(struct dnn_linear *l);
const char *dnn_linear_implementation(const struct dnn_linear *l,
                                      enum dnn_direction direction);
enum vd_err dnn_linear_forward(struct dnn_linear *l, const float *src,
                               const float *weights, const float *bias,
                               float *dst) VD_MUST_USE;
enum vd_err dnn_linear_backward_weights(struct dnn_linear *l, const float *src,
                                        const float *dst_grad,
                                        float *weights_grad,
                                        float *bias_grad) VD_MUST_USE;
enum vd_err dnn_linear_backward_data(struct dnn_linear *l, const float *weights,
                                     const float *dst_grad,
                                     float *src_grad) VD_MUST_USE;

struct dnn_pool_spec {
    int32_t batch, c, ih, iw, oh, ow, kernel, stride, pad;
    bool plain; /* else blocked, both sides */
    bool backward;
};

struct dnn_pool; /* keeps which element won */

enum vd_err dnn_pool_new(struct dnn *d, const struct dnn_pool_spec *spec,
                         struct dnn_pool **out) VD_MUST_USE;
void dnn_pool_free(struct dnn_pool *p);
const char *dnn_pool_implementation(const struct dnn_pool *p,
                                    enum dnn_direction direction);
enum vd_err dnn_pool_forward(struct dnn_pool *p, const float *src,
                             float *dst) VD_MUST_USE;
enum vd_err dnn_pool_backward(struct dnn_pool *p, const float *dst_grad,
                              float *src_grad) VD_MUST_USE;

#endif
