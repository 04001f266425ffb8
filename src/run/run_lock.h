/*
 * Ownership of a run's folder: one process at a time writes into it.
 *
 * `.lock` is held with flock() and fcntl() locks as long as the process lives,
 * whatever ends it, and contains a line that identifies its owner. Where the
 * file system has no locks, or a frozen process wakes up after another one took
 * the run over, the contents decide: run_lock_check() compares them. Local.
 */
#ifndef VOCDIST_RUN_RUN_LOCK_H
#define VOCDIST_RUN_RUN_LOCK_H

#include "base/err.h"

#include <pthread.h>

struct run_lock {
    int fd;                /* -1: not held */
    char *path;            /* owned: FOLDER/.lock */
    char *folder;          /* owned, for messages */
    char *owner;           /* owned: what this process wrote into it */
    pthread_mutex_t mutex; /* of fd and the file's contents */
};

#define RUN_LOCK_NAME ".lock"

/* VD_CREATE when another process holds the lock; the message names its host
 * and process. */
enum vd_err run_lock_acquire(struct run_lock *l,
                             const char *folder) VD_MUST_USE;
/* VD_CREATE once another process has taken the folder over. Writes a removed
 * .lock again. Any thread. */
enum vd_err run_lock_check(struct run_lock *l) VD_MUST_USE;
/* May be a lock that was not acquired (fd -1, the rest zeros). */
void run_lock_release(struct run_lock *l);

#endif
