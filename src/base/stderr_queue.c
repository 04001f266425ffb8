/*
 * A bounded FIFO queue before a non-blocking descriptor.
 *
 * O_NONBLOCK belongs to the open file description, which standard error shares
 * with other processes (the shell), so it must not be set on descriptor 2. A
 * terminal or pipe is opened again through /proc/self/fd/2, which gives this
 * process its own description. If that fails, and for regular files, descriptor
 * 2 is used as it is.
 */
#include "base/stderr_queue.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_BYTES   ((size_t)64 << 10)
#define RESERVE_BYTES ((size_t)16 << 10) /* for STDERR_REQUIRED only */

static struct {
    pthread_mutex_t lock; /* guards all fields below */
    int fd;               /* owned unless 2; -1: not opened yet */
    dev_t device;         /* of the file behind fd: descriptor 2 may change */
    ino_t inode;
    size_t n;
    unsigned long dropped; /* lines since the last report of the number */
    char queue[QUEUE_BYTES];
} stderr_out = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void reopen_stderr(const struct stat *now)
{
    bool can_block = S_ISFIFO(now->st_mode) || isatty(STDERR_FILENO);
    if (stderr_out.fd > STDERR_FILENO)
        close(stderr_out.fd);
    stderr_out.fd = -1;
    if (can_block)
        stderr_out.fd = open("/proc/self/fd/2",
                             O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (stderr_out.fd < 0)
        stderr_out.fd = STDERR_FILENO;
    stderr_out.device = now->st_dev;
    stderr_out.inode = now->st_ino;
}

static void refresh_output(void)
{
    struct stat now;
    if (fstat(STDERR_FILENO, &now) < 0)
        stderr_out.fd =
            STDERR_FILENO; /* closed: every write fails, as it should */
    else if (stderr_out.fd < 0 || now.st_dev != stderr_out.device ||
             now.st_ino != stderr_out.inode)
        reopen_stderr(&now);
}

/* Returns the bytes written; `n` also when writing can never succeed. */
static size_t write_nonblocking(const char *bytes, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(stderr_out.fd, bytes + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return errno == EAGAIN ? done : n;
        done += (size_t)k;
    }
    return done;
}

/* Writes as much of the queue as possible; true when it is empty. */
static bool drain_queue(void)
{
    size_t done = write_nonblocking(stderr_out.queue, stderr_out.n);
    memmove(stderr_out.queue, stderr_out.queue + done, stderr_out.n - done);
    stderr_out.n -= done;
    if (stderr_out.n > 0 || stderr_out.dropped == 0)
        return stderr_out.n == 0;
    int n =
        snprintf(stderr_out.queue, QUEUE_BYTES,
                 "... %lu lines were dropped here: standard error was full\n",
                 stderr_out.dropped);
    stderr_out.dropped = 0;
    stderr_out.n = (size_t)n;
    return drain_queue();
}

static void enqueue_line(const char *bytes, size_t n,
                         enum stderr_priority priority)
{
    bool empty = drain_queue();
    if (!empty && priority == STDERR_TRANSIENT)
        return;
    size_t done = empty ? write_nonblocking(bytes, n) : 0;
    size_t capacity =
        QUEUE_BYTES - (!empty && priority == STDERR_INFO ? RESERVE_BYTES : 0);
    if (stderr_out.n + n - done > capacity) {
        stderr_out.dropped++;
        return;
    }
    memcpy(stderr_out.queue + stderr_out.n, bytes + done, n - done);
    stderr_out.n += n - done;
}

void stderr_write(const char *bytes, size_t n, enum stderr_priority priority)
{
    pthread_mutex_lock(&stderr_out.lock);
    refresh_output();
    enqueue_line(bytes, n, priority);
    pthread_mutex_unlock(&stderr_out.lock);
}

void stderr_flush(void)
{
    double end = clock_now() + STDERR_FLUSH_S;
    pthread_mutex_lock(&stderr_out.lock);
    refresh_output();
    while (!drain_queue() && clock_now() < end) {
        struct pollfd ready = {.fd = stderr_out.fd, .events = POLLOUT};
        poll(&ready, 1, 10);
    }
    pthread_mutex_unlock(&stderr_out.lock);
}
