/*
 * Backend `deferred`, for tests only (built with them): ref made as awkward
 * as an accelerator. What would be wrong there is wrong here, on any machine:
 *
 *   - Calls that enqueue compute nothing. The work is done when somebody
 *     waits (results, update_result, put, get, node_value, node_grad), never
 *     earlier: a missing wait is certain to read old values.
 *   - buf.data points to memory that faults when it is touched.
 *   - `ready` is called while the work is recorded, before any of it ran.
 *   - begin() records the calls of a key the first time and replays them
 *     later, so a call or an argument that should have differed does not.
 *
 * Backend `deferred-check` does not replay: it compares every later step with
 * the recorded one, and a call that differs is VD_BUG.
 *
 * Programs take one of them with TEST_VOCDIST_BACKEND=NAME.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_H

#include "backend/backend.h"

extern const struct backend_ops backend_deferred_ops;
extern const struct backend_ops backend_deferred_check_ops;

#endif
