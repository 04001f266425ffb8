/*
 * Non-blocking writes to standard error: a stopped terminal (Ctrl-S) or a full
 * pipe that nobody reads must not block training.
 *
 * Bytes that a terminal or pipe does not accept at once go into a bounded
 * queue, which every later call drains first. When the queue is full, lines are
 * dropped; their number is printed when there is room again. Regular files are
 * written directly. Thread-safe; no call waits longer than STDERR_FLUSH_S.
 * Local.
 */
#ifndef VOCDIST_BASE_STDERR_QUEUE_H
#define VOCDIST_BASE_STDERR_QUEUE_H

#include <stddef.h>

#define STDERR_FLUSH_S 2.0

enum stderr_priority {
    STDERR_TRANSIENT, /* dropped unless it can be written now */
    STDERR_INFO,      /* dropped when the queue is full up to its reserve */
    STDERR_REQUIRED,  /* may also use the reserve of the queue */
};

/* Writes or queues a line of `n` bytes, or drops the whole line. */
void stderr_write(const char *bytes, size_t n, enum stderr_priority priority);

/* Waits up to STDERR_FLUSH_S (seconds) until the queue is empty. Call it after
 * an error and at the end of the process. */
void stderr_flush(void);

#endif
