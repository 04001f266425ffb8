/*
 * A unit of the plan made executable: its oneDNN object or its batch norm. The
 * other kinds of units (cpu_plan.h) need no object.
 *
 * After unit_init() the object has its implementation but no code; see
 * cpu_dnnl.h. Local.
 */
#ifndef VOCDIST_BACKEND_CPU_UNIT_H
#define VOCDIST_BACKEND_CPU_UNIT_H

#include "backend/cpu/cpu_dnnl.h"
#include "backend/cpu/cpu_norm.h"
#include "backend/cpu/cpu_plan.h"

/* All owned, except bias; NULL (norm: empty) for other kinds of units. */
struct unit {
    struct dnn_conv *conv;
    struct dnn_linear *linear;
    struct dnn_pool *pool;
    struct norm norm;
    /* Of a folded norm: [padded oc], borrowed from the packed weights. */
    float *bias;
};

/* Makes unit `i` of the plan. `unit` is zeroed; unit_clear() it, also after an
 * error. `threads`: compute threads of the norm. */
enum vd_err unit_init(struct unit *unit, struct dnn *d, const struct plan *p,
                      int i, int threads) VD_MUST_USE;
void unit_clear(struct unit *unit);

/* oneDNN's name of the implementation in that direction, static; NULL: not
 * computed, or not by oneDNN. */
const char *unit_implementation(const struct unit *unit,
                                enum dnn_direction direction);
/* The name of unit `i` in messages: of its weight tensor, or "maxpool". */
const char *unit_name(const struct plan *p, int i);

#endif
