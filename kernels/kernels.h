/*
 * CUDA kernels of backend cuda: all of a training step except convolutions and
 * matrix products (cuDNN). One family per file, X.cu; these are their
 * launchers.
 *
 * Launchers. A launcher enqueues one or a few kernels on queue.stream and
 * returns cudaSuccess (0) or the launch's cudaError_t. It never waits, copies
 * or allocates, so a stream that is being captured can be passed. Argument
 * structs are read before a launcher returns; the arrays that they point to are
 * device memory (or pinned host memory that the device can access), borrowed
 * until the work is done. Nothing that changes from step to step is an
 * argument: steps, learning rates, seeds and staging buffers come from struct
 * kernel_step in device memory. One captured step can therefore be replayed.
 *
 * Layout. Activations are NHWC: [rows, c] with rows = n h w and c the innermost
 * dimension, stored as enum kernel_type. c is the padded number of channels, a
 * multiple of 8; vectors per channel are float32 [c]. In padding channels
 * weight and bias are 0, so they stay 0. Activations, masks and flat buffers
 * start at a multiple of 16 bytes, other arrays at a multiple of their
 * element's size. Arrays of one call do not overlap, unless the call says that
 * they may be the same.
 *
 * Arithmetic. The sources are compiled without implicit fused multiply-adds
 * (nvcc -fmad=false): +, -, x, / and sqrt have the bits of the reference in
 * float32 on any device and in the tests on the host. The kernels are bound by
 * memory, so this costs nothing. Sums are in a fixed order that depends on the
 * shapes only, without atomics: the bits depend neither on queue.max_blocks nor
 * on the device. Long sums are in double.
 *
 * The structs that mirror those of data/batch_item.h and backend/backend.h have
 * the same layout, which the tests check; those headers are not valid C++.
 *
 * All calls are Local; a queue is used by one thread at a time.
 */
#ifndef VOCDIST_KERNELS_KERNELS_H
#define VOCDIST_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* a cudaStream_t is a pointer to it */

/* Where to enqueue. max_blocks: upper limit of a grid, 0: none; it leaves
 * multiprocessors to other streams and does not change results. (A grid has at
 * least one block per image in kernel_augment(), per 64 channels in batch norm
 * and stem.) */
struct kernel_queue {
    struct CUstream_st *stream;
    unsigned max_blocks;
};

/* Type of stored activations. */
enum kernel_type { KERNEL_F32, KERNEL_BF16, KERNEL_F16 };

/* ---- exchange buffers: reduce.cu ---- */

/* dst += src, element by element. Any alignment of the range. */
int kernel_add(struct kernel_queue queue, float *dst, const float *src,
               size_t n);
/* x /= by, element by element. */
int kernel_divide(struct kernel_queue queue, float *x, size_t n, float by);

/* What an update has to know about the mean gradient before it changes
 * anything. */
struct kernel_grad_summary {
    double squares; /* sum of the squares of all gradient elements */
    int32_t finite; /* 1: all gradients and statistics are, and the flag is 0 */
};

struct kernel_grad {
    const float *grad; /* [n] */
    size_t n;
    const float *stats; /* [n_stats]: batch statistics */
    size_t n_stats;
    const float *flag; /* of non-finite losses, 0: none; averaged */
    double *partials;  /* [kernel_grad_partials(n)]; scratch memory */
    struct kernel_grad_summary *out;
};

size_t kernel_grad_partials(size_t n);
int kernel_grad_summarize(struct kernel_queue queue,
                          const struct kernel_grad *g);

/* ---- conversion: cast.cu ---- */

/* Converts between float32 and `type` (not KERNEL_F32), n elements. Rounds to
 * nearest even; values beyond the largest one become infinite. */
int kernel_cast_from_f32(struct kernel_queue queue, enum kernel_type type,
                         void *dst, const float *src, size_t n);
int kernel_cast_to_f32(struct kernel_queue queue, enum kernel_type type,
                       float *dst, const void *src, size_t n);

/* ---- the state of a net on the device: step.cu ---- */

/* As struct step_scalars (backend/backend.h). */
struct kernel_scalars {
    uint64_t seed, step;
    double lr, backbone_lr;
};

/* Zeros at first; afterwards only the kernels write it. */
struct kernel_step {
    struct kernel_scalars scalars; /* of the last forward */
    uint32_t staging;              /* staging buffer of the last forward */
    uint32_t n_forwards, n_updates;
};

/* Starts a forward: selects staging buffer n_forwards % 2 and copies its
 * scalars, because the buffer may be filled again before the update. */
int kernel_step_begin(struct kernel_queue queue, struct kernel_step *step,
                      const struct kernel_scalars staged[2]);

/* ---- update: optim.cu ---- */

/* As enum optim_rule and struct optim. */
enum kernel_rule { KERNEL_ADAM, KERNEL_ADAMW, KERNEL_SGD };

struct kernel_optim {
    enum kernel_rule rule;
    double beta1, beta2, eps, weight_decay;
    double momentum;
    double clip_norm; /* 0: no clipping */
};

/* As struct loss_scaling: zeros: none. */
struct kernel_scaling {
    int32_t growth_steps, max_skipped;
};

/* As struct update_result. */
struct kernel_update_result {
    double grad_norm;
    float loss_scale;
    int32_t outcome; /* 0 applied, 1 skipped, 2 halted */
    double seconds;  /* written as 0: the host measures time by events */
};

/* The factors of one update, in device memory. Pairs: head, backbone. */
struct kernel_update_coeffs {
    int32_t rule;     /* enum kernel_rule; -1: the update changes nothing */
    float grad_scale; /* clipping and loss scale */
    float beta1, beta2, one_minus_beta1, one_minus_beta2, eps;
    float bias_correction2_sqrt; /* sqrt(1 - beta2^t) */
    float weight_decay;          /* 0 for AdamW, whose decay is below */
    float momentum;
    float lr[2], step_size[2]; /* step_size: lr / (1 - beta1^t) */
    float decay[2];            /* factor of the parameter before the update */
};

struct kernel_update {
    struct kernel_optim optim;
    struct kernel_scaling scaling;
    const struct kernel_grad_summary *summary;
    struct kernel_step *step;
    float *scaler; /* as a BUF_SCALER buffer (backend/backend.h) */
    struct kernel_update_result *results; /* [capacity]; update k writes entry
                                             k % capacity */
    uint32_t capacity;
    struct kernel_update_coeffs *coeffs;
};

/*
 * Advances the loss scaler by one step (the state machine of backend/scaler.h)
 * and writes the result of the update and its coefficients. Adam's t is step -
 * skipped steps. The following two calls then update the weights, or change
 * nothing if the step is skipped or training is halted.
 */
int kernel_update_decide(struct kernel_queue queue,
                         const struct kernel_update *u);

struct kernel_params {
    float *param, *m, *v; /* [n]; v: not used by SGD */
    const float *grad;    /* [n]: the mean gradient, times the loss scale */
    size_t n, n_head;     /* elements from n_head on have the backbone's rate */
    void *shadow;         /* [n] of shadow_type, written; NULL: none */
    enum kernel_type shadow_type; /* KERNEL_BF16 or KERNEL_F16 */
    const struct kernel_update_coeffs *coeffs;
};

/* Adam, AdamW or SGD as torch.optim defines them. All arrays start at a
 * multiple of 16 bytes. */
int kernel_update_params(struct kernel_queue queue,
                         const struct kernel_params *p);

/* running = (1 - momentum) running + momentum batch, for n means and variances;
 * without those of fixed norms, which come first in the buffers. */
int kernel_update_running(struct kernel_queue queue, float *running,
                          const float *batch, size_t n, double momentum,
                          const struct kernel_update_coeffs *coeffs);

/* ---- batch norm: norm.cu ---- */

/*
 * One batch norm (Ioffe and Szegedy 2015) over x [rows, c]. mean, inv_std and
 * scale are written by kernel_norm_batch() or kernel_norm_running() and read by
 * all others:
 *
 *     scale = weight inv_std,  inv_std = 1 / sqrt(variance + eps)
 *     y     = (x - mean) scale + bias
 */
struct kernel_norm {
    enum kernel_type type; /* of x, y, residual and their gradients */
    size_t rows;
    int32_t c;
    double eps;
    const float *weight, *bias;    /* [c] */
    float *mean, *inv_std, *scale; /* [c] */
    double *partials; /* [kernel_norm_partials(rows, c)]; scratch memory */
};

size_t kernel_norm_partials(size_t rows, int32_t c);

/* Statistics of the batch. Also writes mean and unbiased variance (of rows
 * values, at least 2) to batch_mean and batch_var [c], for the exchange; NULL:
 * not. Computed from x minus its first row (Chan, Golub, LeVeque 1983), so a
 * mean that is large compared to the deviation costs no accuracy. */
int kernel_norm_batch(struct kernel_queue queue, const struct kernel_norm *n,
                      const void *x, float *batch_mean, float *batch_var);
/* Fixed statistics [c] instead of those of the batch. */
int kernel_norm_running(struct kernel_queue queue, const struct kernel_norm *n,
                        const float *running_mean, const float *running_var);

struct kernel_norm_apply {
    const void *x, *residual; /* residual may be NULL: not added */
    int32_t relu;             /* NaN stays NaN */
    void *y;                  /* may be x or residual */
    uint8_t *mask; /* [rows c / 8]: bit k of byte i is 1 if element 8 i + k
                      passes the ReLU; NULL: not written */
    int32_t *not_finite; /* [rows / image_rows]: set to 1 for images with a
                            value that is not finite before the ReLU, which
                            would hide -inf; never cleared; NULL: not checked */
    size_t image_rows;   /* rows of one image */
};

/* y = norm(x) (+ residual) (ReLU). */
int kernel_norm_apply(struct kernel_queue queue, const struct kernel_norm *n,
                      const struct kernel_norm_apply *a);

/*
 * Backward, with g = dy where mask is 1, else 0 (mask NULL: g = dy), n = rows:
 *
 *     bias_grad = sum g,  weight_grad = sum g xhat,  xhat = (x - mean) inv_std
 *     dx = scale (g - (bias_grad + xhat weight_grad) / n)
 *
 * or dx = scale g with fixed statistics. The last kernel reads weight_grad and
 * bias_grad: an exchange may change them after it, not before.
 */
struct kernel_norm_backward {
    const void *x, *dy;
    const uint8_t *mask;
    int32_t uses_batch;             /* 0: fixed statistics */
    float *weight_grad, *bias_grad; /* [c] */
    void *dx;        /* may be dy or x; NULL: only the parameters' gradients */
    void *dresidual; /* g, for the residual; may be dy if dx is not; or NULL */
};

int kernel_norm_backward(struct kernel_queue queue, const struct kernel_norm *n,
                         const struct kernel_norm_backward *b);

/* ---- stem: stem.cu ---- */

/*
 * Batch norm, ReLU and max pooling (3 x 3, stride 2, padding 1) of x
 * [n, h, w, c] as one map to y [n, (h - 1) / 2 + 1, (w - 1) / 2 + 1, c],
 * without the map between them. norm.rows is n h w, below 2^31; statistics come
 * from kernel_norm_batch() or kernel_norm_running().
 */
struct kernel_stem {
    struct kernel_norm norm;
    int32_t n, h, w;
};

/* index [elements of y / 8]: four bits for each element of y, the first element
 * lowest: position 3 ky + kx of the maximum in its window, the first of equal
 * ones, or 15 if it is 0 and gets no gradient. NULL: not written. not_finite as
 * in struct kernel_norm_apply. */
int kernel_stem_forward(struct kernel_queue queue, const struct kernel_stem *s,
                        const void *x, void *y, uint32_t *index,
                        int32_t *not_finite);

struct kernel_stem_backward {
    const void *x, *dy; /* dy: [elements of y] */
    const uint32_t *index;
    int32_t uses_batch;
    float *weight_grad, *bias_grad; /* [c] */
    void *dx; /* may be x; NULL: only the parameters' gradients */
};

/* Formulas: struct kernel_norm_backward, with g the sum of dy over the windows
 * whose maximum is this element. */
int kernel_stem_backward(struct kernel_queue queue, const struct kernel_stem *s,
                         const struct kernel_stem_backward *b);

/* ---- head: head.cu, loss.cu ---- */

/* As struct batch_item; class_index is its `class`. Items are staged in two
 * buffers [2][n]; kernels read the one that struct kernel_step selects. */
struct kernel_item {
    uint64_t position;
    int64_t index; /* -1: padding */
    int32_t class_index;
    float box[4], warp[6], color[4];
    uint8_t order[4];
};

/*
 * ReLU (optional) and dropout of a map [n, area, c]. The mask is that of
 * model/dropout.h: its index of channel k, pixel p is k area + p, the order in
 * which the flatten node reads the map. (So there is no flatten kernel: fc1's
 * weights have the map's layout.) Backward draws the mask again.
 */
struct kernel_dropout {
    enum kernel_type type;
    int32_t n, area, c;
    int32_t ordinal;
    double rate;
    int32_t relu;
    const struct kernel_step *step;
    const struct kernel_item *items;
};

/* y may be x. */
int kernel_dropout_forward(struct kernel_queue queue,
                           const struct kernel_dropout *d, const void *x,
                           void *y);
/* x is read with relu only. dx may be x or dy. */
int kernel_dropout_backward(struct kernel_queue queue,
                            const struct kernel_dropout *d, const void *x,
                            const void *dy, void *dx);

/* The end of a linear layer whose product was split along its inputs:
 * y = bias + partials[0] + partials[1] + ... (ReLU), added in this order. */
struct kernel_bias {
    enum kernel_type type, partial_type; /* of y; of partials */
    int32_t splits, rows, c;
    const void *partials; /* [splits, rows, c] */
    const float *bias;    /* [c] */
    int32_t relu;
    void *y;             /* [rows, c] */
    int32_t *not_finite; /* [rows], as in struct kernel_norm_apply, or NULL */
};

int kernel_bias_forward(struct kernel_queue queue, const struct kernel_bias *b);

/* dx = dy where y > 0, else 0 (y NULL: dx = dy), and its sum over the rows. */
struct kernel_bias_backward {
    enum kernel_type type;
    int32_t rows, c;
    const void *y, *dy;
    void *dx;         /* may be dy */
    float *bias_grad; /* [c] */
};

int kernel_bias_backward(struct kernel_queue queue,
                         const struct kernel_bias_backward *b);

/* As struct result; class_index is its `class`. */
struct kernel_result {
    float l1, ce;
    float box[4];
    int32_t class_index;
    float score;
};

/* The loss (struct graph_loss in model/graph.h) of n images, in double, and its
 * gradient with respect to the logits: that of the mean over the images, times
 * the loss scale. One block. */
struct kernel_loss {
    enum kernel_type type;
    int32_t n, classes;
    int32_t stride; /* elements of a row of logits, at least 4 + classes */
    int32_t size;
    double box_scale, class_scale;
    const double *class_weights; /* [classes], or NULL: all 1 */
    const struct kernel_step *step;
    const struct kernel_item *items;
    const void *logits;
    int32_t *not_finite; /* [n]: cross entropy and loss of these images become
                            NaN; cleared for the next forward; or NULL */
    struct kernel_result *results; /* [capacity, n]; forward k writes entry
                                      k % capacity */
    uint32_t capacity;
    /* Training; NULL in evaluation. */
    void *dlogits;       /* [n, stride]; 0 beyond the logits */
    float *flag;         /* 1 if a loss is not finite, else 0 */
    const float *scaler; /* its SCALER_SCALE is used; NULL: no loss scaling */
};

int kernel_loss(struct kernel_queue queue, const struct kernel_loss *l);

/* ---- input: augment.cu ---- */

enum kernel_layout {
    KERNEL_NHWC,          /* [n, size, size, c]; channels from 3 on are 0 */
    KERNEL_SPACE_TO_DEPTH /* [n, s, s, 16] with s = (size + 6) / 2, size even:
                             the image with a border of 3 zeros, 2 x 2 pixels
                             per cell. Channel 3 (2 dy + dx) + k of cell (y, x)
                             is channel k of the bordered image's pixel
                             (2 y + dy, 2 x + dx); channels 12 to 15 are 0 */
};

/*
 * The stem's 7 x 7 convolution with stride 2 and padding 3 of the image is a
 * 4 x 4 convolution with stride 1 and no padding of KERNEL_SPACE_TO_DEPTH, with
 * weight [out, y, x, 3 (2 dy + dx) + k] = w[out, k, 2 y + dy, 2 x + dx], 0
 * where an index of w is 7. (At 224 pixels: 115 x 115 x 16.)
 */

/* The transformation of struct batch_item (data/batch_item.h), to 1/255: warp,
 * color changes in the item's order, normalization. Padding items are zeros. */
struct kernel_augment {
    enum kernel_type type; /* of out */
    enum kernel_layout layout;
    int32_t n, size;
    int32_t c; /* KERNEL_NHWC: a multiple of 4 */
    /* uint8 [size, size, 3] per image: staged [2][n] like items, or resident
     * [images] by the item's index, the other one NULL. */
    const uint8_t *staged, *resident;
    const struct kernel_step *step;
    const struct kernel_item *items;
    float mean[3], std[3]; /* of values in 0..1 */
    double *partials; /* [kernel_augment_partials(n, size)]; scratch memory */
    void *out;
};

size_t kernel_augment_partials(int32_t n, int32_t size);
/* Two kernels: the mean gray value of images with a change of contrast, which
 * depends on the changes before it, then the input. */
int kernel_augment(struct kernel_queue queue, const struct kernel_augment *a);

#ifdef __cplusplus
}
#endif

#endif
