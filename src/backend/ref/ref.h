/*
 * Backend `ref`: plain loops in double, the oracle of the others. Slow and
 * obvious; it can also train, on a machine without any library. Every result
 * is filled with NaN before it is computed, so a value that is forgotten shows.
 */
#ifndef VOCDIST_BACKEND_REF_REF_H
#define VOCDIST_BACKEND_REF_REF_H

#include "backend/backend.h"

extern const struct backend_ops backend_ref_ops;

#endif
