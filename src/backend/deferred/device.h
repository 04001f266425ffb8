/* Private to backend `deferred`. Each object wraps ref's object of the same
 * kind, `inner`. */
#ifndef VOCDIST_BACKEND_DEFERRED_DEVICE_H
#define VOCDIST_BACKEND_DEFERRED_DEVICE_H

#include "backend/deferred/deferred.h"

#include <pthread.h>

#define MAX_KEYS 64

enum call { CALL_FORWARD, CALL_BACKWARD, CALL_ADD, CALL_DIVIDE, CALL_UPDATE };

/* One enqueued call with its arguments, all of them ref's objects. Members that
 * the call does not use are 0. */
struct command {
    enum call call;
    struct net *net;
    struct buf dst, src;
    struct range range;
    float by;
};

struct commands {
    struct command *list; /* owned */
    size_t n, capacity;
};

/* One buffer: the address that the host sees, and ref's buffer with the
 * values. */
struct device_memory {
    float *guard; /* mapped without any access */
    struct buf inner;
    struct device_memory *next;
};

struct device {
    struct backend inner;
    pthread_mutex_t lock; /* of all below; several threads use nets */
    struct device_memory *memories;
    struct commands queue; /* enqueued, not yet executed */
    int n_recording;       /* nets between begin and end */
    enum vd_err err; /* first error of executed work; every wait returns it */
};

struct net {
    struct device *device;
    struct net *inner;
    const struct graph *graph;
    struct weights weights; /* of inner: ref's buffers */
    struct commands recorded[MAX_KEYS];
    int key;             /* between begin and end, else -1 */
    struct commands now; /* captured since begin */
    bool checks;         /* deferred-check: compare, do not replay */
};

/* Ref's buffer behind `buf`; asserts that `buf` is allocated. */
struct buf device_inner(struct device *d, const struct buf *buf);
/* Executes everything that is enqueued. Returns with d->lock held, also in case
 * of an error: the caller unlocks it. */
enum vd_err device_wait(struct device *d) VD_MUST_USE;

void commands_add(struct commands *c, const struct command *one);
void commands_clear(struct commands *c);

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
