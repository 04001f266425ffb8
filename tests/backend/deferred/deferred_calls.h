/*
 * The nets of backend `deferred`: capture and replay of the calls between begin
 * and end. Private to the backend.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_CALLS_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_CALLS_H

#include "backend/deferred/deferred_device.h"

#define MAX_KEYS 64

struct net {
    struct device *device;
    struct net *inner; /* ref's */
    const struct graph *graph;
    struct weights weights; /* of inner: ref's buffers */
    struct commands captured[MAX_KEYS];
    int key;             /* between begin and end, else -1 */
    struct commands now; /* captured since begin */
    bool checks;         /* deferred-check: compare, do not replay */
};

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

#endif
