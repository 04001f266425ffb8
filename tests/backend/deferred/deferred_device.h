/*
 * The simulated device of backend `deferred`: memory that the host cannot
 * access, and a queue of commands that runs only when the host waits. ref does
 * the work; `inner` is ref's object of the same kind. Local; all functions may
 * be called by several threads.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_DEVICE_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_DEVICE_H

#include "backend/backend.h"

#include <pthread.h>

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
    float *guard; /* mapped without access rights */
    struct buf inner;
    struct device_memory *next;
};

struct device {
    struct backend inner;
    pthread_mutex_t lock; /* of all below; several threads use nets */
    struct device_memory *memories;
    struct commands queue; /* enqueued, not yet executed */
    int n_capturing;       /* nets between begin and end */
    enum vd_err err; /* first error of executed work; every wait returns it */
};

enum vd_err device_open(struct device **out,
                        const struct backend_config *config) VD_MUST_USE;
/* Asserts that all memory has been freed. */
void device_close(struct device *d);

enum vd_err device_alloc(struct device *d, const struct graph *g,
                         enum buf_kind kind, struct buf *out) VD_MUST_USE;
void device_free(struct device *d, struct buf *buf);
/* Ref's buffer behind `buf`; asserts that `buf` is allocated. */
struct buf device_inner(struct device *d, const struct buf *buf);

/* A growing list; commands_add() copies `one`. */
void commands_add(struct commands *c, const struct command *one);
void commands_clear(struct commands *c);

/* Appends copies of the commands to the queue. */
void device_enqueue(struct device *d, const struct commands *c);
/* Counts a net between begin and end: `change` is 1 at begin, -1 at end. */
void device_count_capturing(struct device *d, int change);
/* Executes everything that is enqueued. Returns with d->lock held, also in case
 * of an error: the caller unlocks it. */
enum vd_err device_wait(struct device *d) VD_MUST_USE;
/* As device_wait(), but fails, with the lock released, while a net is between
 * begin and end: a step that is being captured cannot wait. */
enum vd_err device_wait_idle(struct device *d) VD_MUST_USE;

#endif
