/*
 * Capture and replay of the calls between begin and end. Private to the
 * backend.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_CALLS_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_CALLS_H

#include "backend/deferred/deferred_device.h"

/* The members of backend_ops that enqueue, see backend.h. */
enum vd_err deferred_begin(struct net *net, int key, bool *replayed);
enum vd_err deferred_forward(struct net *net);
enum vd_err deferred_backward(struct net *net, struct buf *exchange,
                              ready_fn *ready, void *ctx);
enum vd_err deferred_add(struct net *net, struct buf *dst,
                         const struct buf *src, struct range range);
enum vd_err deferred_divide(struct net *net, struct buf *buf,
                            struct range range, float by);
enum vd_err deferred_update(struct net *net, struct buf *exchange);
enum vd_err deferred_end(struct net *net);
void deferred_cancel(struct net *net);

/* Captures the command, or outside begin and end enqueues it. */
enum vd_err deferred_enqueue(struct net *net, const struct command *c);

#endif
