/* The collective of the backend (backend/collective.h). Private to it. */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_COLLECTIVE_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_COLLECTIVE_H

#include "backend/collective.h"

extern const struct collective_ops deferred_collective_ops;

#endif
