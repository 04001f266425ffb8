/*
 * Backend `deferred`, for tests only (built with them): ref behind an
 * asynchronous queue with capture and replay, like an accelerator. It makes a
 * caller that breaks the rules of backend.h fail on any machine:
 *
 *   - Calls that enqueue compute nothing. The work runs when a call waits
 *     (results, update_result, put, get, node_value, node_grad,
 *     release_workspace, net_free), never earlier: a caller that does not wait
 *     always reads old values.
 *   - buf.data points to memory without access rights: touching it faults.
 *   - `ready` is called while the work is captured, before any of it runs.
 *   - begin captures the calls of a key the first time and replays them later:
 *     a call or an argument that should differ from step to step does not.
 *
 * Backend `deferred-check` does not replay. It compares every later step with
 * the captured one; a call that differs is VD_BUG.
 *
 * TEST_VOCDIST_BACKEND=NAME makes a whole program use one of them.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_H

#include "backend/backend.h"

extern const struct backend_ops backend_deferred_ops;
extern const struct backend_ops backend_deferred_check_ops;

#endif
