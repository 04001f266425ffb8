/*
 * The tuning plan of the backend. Its only algorithm setting is the `variant`,
 * a number that stands for the choice of algorithms: it decides how the
 * gradient of the last tensor of the network is rounded. Private to the
 * backend.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_PLAN_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_PLAN_H

#include "backend/deferred/deferred_device.h"

/* "Measures": every call returns another variant, as measured times differ from
 * call to call. See backend_ops.tune. */
enum vd_err deferred_tune(struct backend *b, const struct net_spec *spec,
                          void **plan, size_t *n) VD_MUST_USE;
/* The variant of spec->plan, 0 without a plan. Errors as net_new. */
enum vd_err deferred_plan_read(const struct device *d,
                               const struct net_spec *spec,
                               unsigned *variant) VD_MUST_USE;
/* Scales the gradient by 1 + variant x 2^-23: other bits, the same training. */
void deferred_plan_apply(unsigned variant, const struct graph *g,
                         float *gradient);

#endif
