/*
 * Copies of the convolutions' weights in the layouts that oneDNN requires, with
 * the batch norm folded in for units of evaluation (and their biases). Nets of
 * equal specs that read the same weights share one reference-counted copy.
 *
 * Thread-safe: each net of a copy may compute on its own thread. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_PACKED_WEIGHTS_H
#define VOCDIST_BACKEND_CPU_PACKED_WEIGHTS_H

#include "backend/backend.h"
#include "backend/cpu/cpu_unit.h"

/* A float32 convolution cannot overflow if the sum of squares of its input and
 * that of its weights are both below this. */
#define CONV_OVERFLOW_BOUND 1e38

struct packed_weights;

/* Call after all units of the net were made. Shares `share_from`, or allocates
 * new memory if it is NULL, and sets the pointers of `units` [p->n_units] to
 * it. packed_weights_close() *out. */
enum vd_err packed_weights_open(struct packed_weights *share_from,
                                const struct plan *p, struct unit *units,
                                struct packed_weights **out) VD_MUST_USE;
/* The last net's call frees the memory. NULL: does nothing. */
void packed_weights_close(struct packed_weights *w);
/* Elements of the copies. */
size_t packed_weights_count(const struct packed_weights *w);

/* Elements that packed_weights_refresh() needs in `folded`. */
size_t packed_weights_folded_count(const struct plan *p);
/* Packs again what changed in `weights` since the last call of any net. Uses
 * the scratchpad (DNN_PACK); `folded`: scratch memory. */
enum vd_err packed_weights_refresh(struct packed_weights *w,
                                   const struct plan *p, struct unit *units,
                                   const struct weights *weights,
                                   float *folded) VD_MUST_USE;
/* Call before weights->version++ of an update that changes no frozen weights:
 * keeps their packed copies valid. `version`: before the increment. */
void packed_weights_keep_frozen(struct packed_weights *w, uint64_t version);

/* True if values may overflow with the folded weights or bias of unit `i`,
 * whatever its input. As of the last packed_weights_refresh(). */
bool packed_weights_may_overflow(const struct packed_weights *w, int i);

#endif
