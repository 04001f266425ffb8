/*
 * Standard error that never stops the program: a terminal that is stopped
 * (Ctrl-S) or a pipe that nobody reads must not hold up training.
 *
 * What a terminal or pipe does not take at once waits in a queue of bounded
 * size, for the next call. When it is full, lines that may be dropped are, and
 * their number is said once there is room again. Other files are written to
 * directly. Thread-safe; never waits for longer than STDERR_FLUSH_S. Local.
 */
#ifndef VOCDIST_BASE_STDERR_QUEUE_H
#define VOCDIST_BASE_STDERR_QUEUE_H

#include <stddef.h>

#define STDERR_FLUSH_S 2.0

enum stderr_priority {
    STDERR_TRANSIENT, /* worth nothing later: dropped unless it can go now */
    STDERR_INFO,
    STDERR_REQUIRED, /* may use a reserve of the queue */
};

/* Writes or queues a line of `n` bytes, or drops it as a whole. */
void stderr_write(const char *bytes, size_t n, enum stderr_priority priority);

/* Waits up to STDERR_FLUSH_S until the queue is empty: after an error, and at
 * the end of the process. */
void stderr_flush(void);

#endif
