/* Inside of backend `deferred`. A net is ours, `inner` is ref's of that. */
#ifndef VOCDIST_BACKEND_DEFERRED_DEVICE_H
#define VOCDIST_BACKEND_DEFERRED_DEVICE_H

#include "backend/deferred/deferred.h"

#include <pthread.h>

#define MAX_KEYS 64

enum call { CALL_FORWARD, CALL_BACKWARD, CALL_ADD, CALL_DIVIDE, CALL_UPDATE };

/* Everything an enqueued call was given; dst and src are ref's buffers. */
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

/* One buffer: what the host is given, and where the values are. */
struct device_memory {
    float *guard; /* mapped without any access */
    struct buf inner;
    struct device_memory *next;
};

struct device {
    struct backend inner;
    pthread_mutex_t lock; /* of all below; nets are used by several threads */
    struct device_memory *memories;
    struct commands queue; /* enqueued, not done */
    int n_recording;       /* nets between begin and end */
    enum vd_err err;       /* the first that work met; the next wait says so */
};

struct net {
    struct device *device;
    struct net *inner;
    const struct graph *graph;
    struct weights weights; /* of inner */
    struct commands recorded[MAX_KEYS];
    int key;             /* between begin and end, else -1 */
    struct commands now; /* of this begin */
    bool checks;         /* compare instead of replaying */
};

struct buf device_inner(struct device *d, const struct buf *buf);
/* Does all that is enqueued and, whatever it returns, keeps the lock. */
enum vd_err device_wait(struct device *d) VD_MUST_USE;

void commands_add(struct commands *c, const struct command *one);
void commands_clear(struct commands *c);

/* The members of backend_ops that enqueue. */
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
