/*
 * The interface to cuDNN (9.8 or newer, graph API): every convolution and
 * matrix product of the network. No other module calls cuDNN.
 *
 * A device description is made from a device or from text, a `conv` (one
 * operation on given shapes) from the description, a plan (the kernel of an
 * engine, ready to run) from the conv. Only conv_device_open(),
 * conv_handle_new() and conv_plan_run() need a device; all other calls work on
 * any machine. A plan of a described device cannot be run.
 *
 * Arrays. Three arrays, whatever the direction:
 *
 *     x  [batch, h, w, c]             NHWC
 *     w  [out_c, kernel, kernel, c]   KRSC
 *     y  [batch, oh, ow, out_c]       NHWC; oh = (h + 2 pad - kernel) / stride
 *                                     + 1 (rounded down), ow alike
 *
 *     direction               reads            writes
 *     CONV_FORWARD            x, w             y
 *     CONV_BACKWARD_DATA      w, y: gradient   x: gradient (`accumulate`: +=)
 *     CONV_BACKWARD_WEIGHTS   x, y: gradient   w: gradient
 *
 * All three have one type: float (fp32, tf32), bf16 or fp16; sums are in
 * float. They are packed, start at a multiple of 16 bytes and do not overlap. c
 * and out_c are multiples of 8 (conv_padded_channels()); padding channels of x
 * and w hold zeros, so those of y and of the gradients become zeros. There is
 * no bias.
 *
 * Matrix products are convolutions of maps of one pixel (h = w = kernel = 1):
 * y [batch, out_c] = x [batch, c] w^T. The linear layer behind a map uses this
 * form as well, with c = h w c of the map: cuDNN has faster engines for it than
 * for a kernel as large as the map, and the memory of x and w is the same.
 *
 * Determinism. The same plan gives the same bits in every run. cuDNN marks the
 * engines that do not (numerical note NONDETERMINISTIC: sums by atomics); no
 * call here returns a plan of such an engine, also if it is given explicitly.
 * Engines with sums in less than float (REDUCED_PRECISION_REDUCTION) and those
 * that compile kernels at run time or need cuBLASLt are excluded as well.
 * Notes are of an engine, for all its knob values.
 *
 *     fp32         no tensor cores, inputs are not rounded
 *     tf32         tensor cores; cuDNN may round inputs to 10 mantissa bits
 *     bf16, fp16   tensor cores preferred
 *
 * Errors: VD_UNSUPPORTED if cuDNN has no engine, VD_SYSTEM out of host memory,
 * VD_DEVICE for any other failure; the message has cuDNN's status and its last
 * error text. Local. One thread at a time uses the objects of a device. Create
 * plans while no collective is running: loading a kernel waits for running
 * ones.
 */
#ifndef VOCDIST_BACKEND_CUDA_CUDNN_CONV_H
#define VOCDIST_BACKEND_CUDA_CUDNN_CONV_H

#include "backend/backend.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct CUstream_st;  /* a cudaStream_t is a pointer to it */
struct cudnnContext; /* a cudnnHandle_t is a pointer to it */

/* ---- devices ---- */

struct conv_device;

/* Device number `device` of this process. Needs a device. */
enum vd_err conv_device_open(int device, struct conv_device **out) VD_MUST_USE;
/* A device described by cuDNN's JSON text (members deviceName, deviceVer, ...),
 * for planning only. `where` names the text in messages. VD_DATA if cuDNN
 * rejects it. */
enum vd_err conv_device_describe(const char *where, const char *json, size_t n,
                                 struct conv_device **out) VD_MUST_USE;
/* Free its convs first. */
void conv_device_free(struct conv_device *d);
/* What plans are valid for: "NVIDIA H200, sm_90, 132 multiprocessors, cuDNN
 * 9.19.0". The driver is not part of it, because the kernels are compiled. */
const char *conv_device_text(const struct conv_device *d);

/* A cuDNN handle on the current device, whose work goes to `stream` (borrowed).
 * Needs a device. */
enum vd_err conv_handle_new(struct CUstream_st *stream,
                            struct cudnnContext **out) VD_MUST_USE;
void conv_handle_free(struct cudnnContext *handle);

/* ---- operations ---- */

enum conv_direction {
    CONV_FORWARD,
    CONV_BACKWARD_DATA,
    CONV_BACKWARD_WEIGHTS,
    CONV_DIRECTIONS
};

struct conv_spec {
    enum conv_direction direction;
    enum backend_precision precision;
    bool accumulate; /* CONV_BACKWARD_DATA only: adds the gradient to x (beta
                        1), so that the sum of two branches needs no kernel */
    int32_t batch, h, w, c, out_c, kernel, stride, pad;
};

/* `c` rounded up to a multiple of 8. */
int32_t conv_padded_channels(int32_t c);
/* oh or ow of a spec, from h or w. */
int32_t conv_out_size(const struct conv_spec *s, int32_t size);
/* "backward_data bf16 x 64x56x56x64 w 128x3x3x64 stride 2 pad 1 accumulate". */
#define CONV_MAX_TEXT 128
void conv_spec_text(const struct conv_spec *s, char text[CONV_MAX_TEXT]);

/* How the first convolution reads the image. */
enum conv_stem {
    CONV_STEM_PADDED, /* its 3 channels are padded to 8 */
    CONV_STEM_SPACE_TO_DEPTH,
};

/*
 * Writes the shapes of a node of op GRAPH_CONV or GRAPH_LINEAR, as they are for
 * all directions; sets direction and precision to 0 (the caller chooses them).
 *
 * CONV_STEM_SPACE_TO_DEPTH turns the convolution of an image [S, S, 3] (7 x 7,
 * stride 2, padding 3, S even) into one of 4 x 4, stride 1 and no padding on
 * [S/2 + 3, S/2 + 3, 16], which has the same result with 256 products per
 * output instead of 392. Each cell has 2 x 2 pixels of the image with a border
 * of 3 zeros (KERNEL_SPACE_TO_DEPTH in kernels/kernels.h). Pixel (y, x,
 * channel) is at conv_stem_pixel(), all other elements are zeros, among them
 * channels 12 to 15. Weight (out, channel, ky, kx) is at conv_stem_weight() of
 * [out_c, 4, 4, 16], all others are zeros; their gradients are not zeros and
 * must be ignored.
 */
void conv_spec_of_node(const struct graph *g, int node, int batch,
                       enum conv_stem stem, struct conv_spec *out);
/* Indices of elements. */
size_t conv_stem_pixel(int32_t size, int32_t y, int32_t x, int32_t channel);
size_t conv_stem_weight(int32_t out, int32_t channel, int32_t ky, int32_t kx);

struct conv;

/* Asserts that shapes and channels are as described above. Borrows `d`. */
enum vd_err conv_new(struct conv_device *d, const struct conv_spec *spec,
                     struct conv **out) VD_MUST_USE;
/* Free its plans first. */
void conv_free(struct conv *c);

/* ---- engines ---- */

#define CONV_MAX_KNOBS 16

/* Identifies an algorithm: an engine and its knob values (cuDNN's name for the
 * settings of an engine). A knob that is absent or -1 has cuDNN's default, a
 * function of device, version and shapes. */
struct conv_engine {
    int64_t id;
    int n_knobs;
    struct conv_knob {
        int32_t type; /* cudnnBackendKnobType_t */
        int64_t value;
    } knob[CONV_MAX_KNOBS];
};

struct conv_candidate {
    struct conv_engine engine;
    size_t workspace; /* bytes */
    bool tensor_core;
};

struct conv_candidates {
    struct conv_candidate *at; /* owned */
    size_t n;
    /* How many others cuDNN offered, by the reason for which they are left
     * out: forbidden by a note, more workspace than the limit, no plan. */
    size_t n_forbidden, n_too_large, n_not_supported;
};

enum conv_search {
    /* All heuristics of cuDNN (modes A, B and FALLBACK), best first. */
    CONV_SEARCH_HEURISTICS,
    /* Then also every engine, with default knob values and, if it can split the
     * sum into parts that are computed at the same time (split-K), into 2, 4,
     * ... 64 parts: for products with few outputs and long sums. */
    CONV_SEARCH_ENGINES,
};

/*
 * Finds the candidates whose plans need at most `max_workspace` bytes, each
 * once, in the order of the heuristics; except in fp32, engines with tensor
 * cores come first. Every candidate was finalized, so a plan of it can be made.
 * Takes 40 ms for the heuristics and 90 ms for all engines (one core; 40 to 80
 * and 60 to 160 candidates). Release with conv_candidates_clear(). n may be 0.
 */
enum vd_err conv_find(struct conv *c, enum conv_search search,
                      size_t max_workspace,
                      struct conv_candidates *out) VD_MUST_USE;
void conv_candidates_clear(struct conv_candidates *list);

/*
 * One line of a tuning plan, for free(): a JSON object with cuDNN version,
 * device, operation, engine and a checksum.
 *
 *     {"cudnn": 91900, "device": "NVIDIA H200", "sm": 90, "multiprocessors":
 *     132, "op": "forward bf16 x 64x56x56x64 w 64x3x3x64 stride 1 pad 1",
 *     "engine": 62, "knob_choices": [[2, 4], [13, 0]], "digest":
 *     "0123456789abcdef"}
 */
char *conv_engine_write(const struct conv *c, const struct conv_engine *e);
/* Reads such a line of `n` bytes, with or without its newline. VD_DATA if any
 * byte is damaged; VD_CONFIG if it was written for another cuDNN version,
 * device or operation than `c`. */
enum vd_err conv_engine_read(const struct conv *c, const char *line, size_t n,
                             struct conv_engine *out) VD_MUST_USE;

/* ---- plans ---- */

struct conv_plan;

/* A plan of `engine`, or with NULL of the first candidate of the heuristics (a
 * function of device, version and shapes; nothing is measured). VD_UNSUPPORTED
 * if it needs more than `max_workspace` bytes, if a note forbids the engine, or
 * if it does not support the operation. Allocates no device memory. Borrows
 * `c`. */
enum vd_err conv_plan_new(struct conv *c, const struct conv_engine *engine,
                          size_t max_workspace,
                          struct conv_plan **out) VD_MUST_USE;
void conv_plan_free(struct conv_plan *p);
/* Bytes of device memory that a run needs; not kept between runs. */
size_t conv_plan_workspace(const struct conv_plan *p);
const struct conv_engine *conv_plan_engine(const struct conv_plan *p);
/* cuDNN's own description of the finalized plan, JSON, for free(): the tensors
 * in their roles, engine and knob values. For tests and diagnostics. */
enum vd_err conv_plan_describe(const struct conv_plan *p,
                               char **json) VD_MUST_USE;

/* Device memory, borrowed until the work is done. */
struct conv_arrays {
    void *x, *w, *y;
};

/* Enqueues on the handle's stream; can be captured. `workspace`: a multiple of
 * 256, of conv_plan_workspace() bytes, used by one run at a time. Needs a
 * device. */
enum vd_err conv_plan_run(struct conv_plan *p, struct cudnnContext *handle,
                          const struct conv_arrays *a,
                          void *workspace) VD_MUST_USE;

#endif
