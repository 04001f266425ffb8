/*
 * Backend `ref`: plain loops in double, the reference that tests compare other
 * backends with. Slow and simple. It also trains where oneDNN is missing. Every
 * array is filled with NaN before its values are computed, so that a value
 * which is not computed is visible.
 */
#ifndef VOCDIST_BACKEND_REF_REF_H
#define VOCDIST_BACKEND_REF_REF_H

#include "backend/backend.h"

extern const struct backend_ops backend_ref_ops;

#endif
