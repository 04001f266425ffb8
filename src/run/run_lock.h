/*
 * Ownership of a run's folder: one process at a time writes into it.
 *
 * The process holds a flock() or fcntl() lock on `.lock`, which the kernel
 * releases when the process ends for any reason. The file contains a line that
 * identifies its owner. A file system may have no locks, and a process that was
 * frozen may have lost the run to another one. Therefore run_lock_check()
 * compares the contents of `.lock` before each write. Local.
 */
#ifndef VOCDIST_RUN_RUN_LOCK_H
#define VOCDIST_RUN_RUN_LOCK_H

#include "base/err.h"

#include <pthread.h>

struct run_lock {
    int fd;       /* -1: not held */
    char *path;   /* owned: FOLDER/.lock */
    char *folder; /* owned, for messages */
    char *owner;  /* owned: the contents of `.lock` that this process wrote */
    pthread_mutex_t mutex; /* of fd and the file's contents */
};

#define RUN_LOCK_NAME ".lock"

/* VD_CREATE if another process holds the lock (the message names its host and
 * process) or `.lock` cannot be written. A file system without locks is a
 * warning. Call run_lock_release() also after an error. */
enum vd_err run_lock_acquire(struct run_lock *l,
                             const char *folder) VD_MUST_USE;
/* VD_CREATE if another process has taken over the folder. Recreates a `.lock`
 * that was removed. Any thread. */
enum vd_err run_lock_check(struct run_lock *l) VD_MUST_USE;
/* May be one that was not acquired (fd -1, the rest zeros). */
void run_lock_release(struct run_lock *l);

#endif
