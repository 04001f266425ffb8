/*
 * The interface to oneDNN (2.x and 3.x): convolution, linear and max pooling
 * in float32, as objects that are created once and executed many times. No
 * other module calls oneDNN. cpu_dnnl_api.h holds the calls that differ
 * between the versions.
 *
 * Creating an object selects its algorithms and determines their scratchpad
 * sizes. dnn_commit() then generates the code of all objects; no object can be
 * executed before it.
 *
 * A feature map is "blocked": [n, ceil(c / B), h, w, B] with B = dnn_block()
 * and zeros in the padding channels (those from c on); or "plain": [n, c, h,
 * w]. Vectors are [n, c]. Weights are canonical ([out, in, k, k]) or "blocked"
 * ([out / B, in / B, k, k, B in, B out], if both channel counts are multiples
 * of B).
 *
 * The algorithm is a pure function of the arguments and the instruction set
 * in effect. One thread at a time may use the objects of one struct dnn;
 * objects of different ones are independent. Local.
 *
 * Errors: VD_SYSTEM if out of memory, VD_DEVICE for any other failure of
 * oneDNN.
 */
#ifndef VOCDIST_BACKEND_CPU_DNNL_H
#define VOCDIST_BACKEND_CPU_DNNL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Channels per block for the instruction set in effect: 16 or 8. */
int dnn_block(void);
/* `channels` rounded up to a multiple of dnn_block(). */
int32_t dnn_padded_channels(int32_t channels);
/* Writes version and instruction set: "oneDNN 2.6.3, avx512_core". */
void dnn_describe(char *text, size_t n);
/* Vector width in bits for the kernels of cpu_simd.h: 512, 256, or 0 if the
 * processor has no AVX2. */
int dnn_vector_bits(void);

struct dnn; /* what the objects of one net share: engine, stream, memory */

enum vd_err dnn_new(struct dnn **out) VD_MUST_USE;
/* Free all objects first. */
void dnn_free(struct dnn *d);
/* Call once, after the last object was created: generates their code and
 * allocates the memory that they share. */
enum vd_err dnn_commit(struct dnn *d) VD_MUST_USE;
/* Bytes of memory that this net's objects hold. */
size_t dnn_bytes(const struct dnn *d);

enum dnn_direction { DNN_FWD, DNN_BWD_DATA, DNN_BWD_WEIGHTS, DNN_DIRECTIONS };

/* True for oneDNN's portable reference loops ("ref:any"), which are 10 to 1000
 * times slower than generated code. The functions *_implementation() below
 * return such names; the strings are static, and NULL means that the object
 * does not have that direction. */
bool dnn_is_reference(const char *implementation);

/* The kinds of work that need a scratchpad. Its contents are not kept between
 * two executions. */
enum dnn_work { DNN_PACK, DNN_FORWARD, DNN_BACKWARD, DNN_WORKS };
/* The scratchpad size in bytes for that work, of the objects created since the
 * last call for the same work. */
size_t dnn_reset_scratch_bytes(struct dnn *d, enum dnn_work work);
/* Sets the scratchpad for the following executions: borrowed, at least as
 * large as dnn_reset_scratch_bytes() reported. */
void dnn_use_scratch(struct dnn *d, void *scratch);

struct dnn_conv_spec {
    int32_t batch, ic, ih, iw, oc, oh, ow, kernel, stride, pad;
    bool plain_src;       /* else blocked; dst is always blocked */
    bool blocked_weights; /* layout for pack and backward; else canonical */
    bool folded;          /* forward only: adds a bias, then `sum`, `relu` */
    bool sum;             /* folded: adds the result to the contents of dst */
    bool relu;            /* folded: applies ReLU last */
    bool backward_weights, backward_data;
};

struct dnn_conv;

enum vd_err dnn_conv_new(struct dnn *d, const struct dnn_conv_spec *spec,
                         struct dnn_conv **out) VD_MUST_USE;
void dnn_conv_free(struct dnn_conv *c);
const char *dnn_conv_implementation(const struct dnn_conv *c,
                                    enum dnn_direction direction);
/* Elements of the packed copies of the weights that it uses, a multiple of 16;
 * 0: it reads the weights without a copy. */
size_t dnn_conv_packed(const struct dnn_conv *c);
/* Sets the memory of the packed copies: 64-byte aligned, borrowed. Objects of
 * equal specs may share it. */
void dnn_conv_use_packed(struct dnn_conv *c, float *packed);
/* Fills the packed copies. Call it after every change of `weights`, before the
 * next execution. */
enum vd_err dnn_conv_pack(struct dnn_conv *c, const float *weights) VD_MUST_USE;
/* `weights` must be those of the last dnn_conv_pack(). bias: [padded oc] if
 * folded, else ignored. */
enum vd_err dnn_conv_forward(struct dnn_conv *c, const float *src,
                             const float *weights, const float *bias,
                             float *dst) VD_MUST_USE;
/* Fastest if weights_grad is 64-byte aligned; else it may need a copy. */
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
    bool plain; /* src and dst plain; else both blocked */
    bool backward;
};

struct dnn_pool; /* holds the workspace: the index of each window's maximum */

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
