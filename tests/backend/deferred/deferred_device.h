/*
 * The simulated device of backend `deferred`: memory that the host cannot
 * access, and a queue of commands that runs only when the host waits or polls.
 * ref does the work; `inner` is ref's object of the same kind. Local; all
 * functions may be called by several threads.
 */
#ifndef VOCDIST_BACKEND_DEFERRED_DEFERRED_DEVICE_H
#define VOCDIST_BACKEND_DEFERRED_DEFERRED_DEVICE_H

#include "backend/backend.h"

#include <pthread.h>

enum call {
    CALL_FORWARD,
    CALL_BACKWARD,
    CALL_ADD,
    CALL_DIVIDE,
    CALL_MEAN,
    CALL_JOIN,
    CALL_UPDATE,
};

struct collective {
    struct net *net;            /* borrowed */
    struct shared_means *means; /* owned; protected by device->lock */
    float **partials;           /* owned array: ref's buffers */
};

/* One enqueued call with its arguments; the buffers are ref's. Members that the
 * call does not use are 0. */
struct command {
    enum call call;
    struct net *net;
    struct collective *collective;
    struct buf dst, src;
    struct range range;
    float by;
};

struct commands {
    struct command *list; /* owned */
    size_t n, capacity;
};

#define MAX_KEYS 64

struct net {
    struct device *device;
    struct net *inner; /* ref's */
    const struct graph *graph;
    int micro_batch;
    struct weights weights; /* of inner: ref's buffers */
    struct commands captured[MAX_KEYS];
    unsigned variant;    /* of the tuning plan, 0: none */
    int key;             /* between begin and end, else -1 */
    struct commands now; /* captured since begin */
    bool checks;         /* deferred-check: compare, do not replay */
    bool trains;
    /* batches staged; of those, read by executed commands */
    uint64_t n_staged, n_released;
    /* executed commands, and results that were read */
    uint64_t n_forwards, n_forwards_read, n_updates, n_updates_read;
    double seconds;   /* of commands executed since the last update */
    double *update_s; /* [max_unread], a ring like ref's: until each update */
    int max_unread;
};

/* One buffer: the address that the host sees, and ref's buffer with the
 * values. */
struct device_memory {
    float *guard; /* mapped without access rights */
    struct buf inner;
    struct device_memory *next;
};

/* Page-locked memory of the host. */
struct pinned_range {
    const uint8_t *memory;
    size_t bytes;
    struct pinned_range *next;
};

struct device {
    struct backend inner;
    bool is_fp16;
    bool requires_pinned; /* stage fails also if no memory is pinned */
    int call_ms;          /* that every executed call takes longer */
    char id[32];          /* "": ranks may share it */
    pthread_mutex_t lock; /* of all below; several threads use nets */
    struct device_memory *memories;
    struct pinned_range *pinned;
    struct commands queue; /* enqueued */
    size_t n_executed;     /* of the queue */
    int n_capturing;       /* nets between begin and end */
    int n_eval_nets;       /* open nets of NET_EVAL */
    enum vd_err err; /* first error of executed work; every wait returns it */
};

enum vd_err device_open(struct device **out,
                        const struct backend_config *config) VD_MUST_USE;
/* Asserts that all memory has been freed and unpinned. */
void device_close(struct device *d);

enum vd_err device_alloc(struct device *d, const struct graph *g,
                         enum buf_kind kind, struct buf *out) VD_MUST_USE;
void device_free(struct device *d, struct buf *buf);
/* Ref's buffer behind `buf`; asserts that `buf` is allocated. */
struct buf device_inner(struct device *d, const struct buf *buf);

/* Assert that the memory is not pinned yet, that it is. */
void device_pin(struct device *d, const void *memory, size_t bytes);
void device_unpin(struct device *d, const void *memory);
/* Asserts that these bytes are pinned, or that nothing is and nothing has to
 * be.
 */
void device_check_pinned(struct device *d, const uint8_t *pixels, size_t bytes);

/* A growing list; commands_add() copies `one`. */
void commands_add(struct commands *c, const struct command *one);
void commands_clear(struct commands *c);

/* Appends copies of the commands to the queue. */
void device_enqueue(struct device *d, const struct commands *c);
/* Counts a net between begin and end: `change` is 1 at begin, -1 at end. */
void device_count_capturing(struct device *d, int change);
/* Counts an open net of NET_EVAL; returns their number. */
int device_count_eval_nets(struct device *d, int change);

/* With d->lock held: true if no command is left. */
bool device_is_idle(const struct device *d);
/* With d->lock held: executes the oldest command; false if there is none, or if
 * it waits for other ranks. An error goes to d->err, and nothing is executed
 * after it. */
bool device_execute_one(struct device *d);
/* True once the work that a caller waits for is done. */
typedef bool device_condition(const struct net *net);
/* Executes commands until `condition` of the net is true (NULL: until none is
 * left), and sleeps while one waits for other ranks. Returns with d->lock held,
 * also in case of an error: the caller unlocks it. */
enum vd_err device_wait(struct device *d, device_condition *condition,
                        const struct net *net) VD_MUST_USE;
/* Waits until no command is left, but fails, with the lock released, while a
 * net is between begin and end: a step that is being captured cannot wait. */
enum vd_err device_wait_idle(struct device *d) VD_MUST_USE;

#endif
