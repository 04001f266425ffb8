/*
 * Standard error's own open file description is shared with other processes
 * (the shell), so it is not made non-blocking. A terminal or pipe is opened
 * once more through /proc/self/fd/2, which gives a description of our own;
 * where that is refused, and for regular files, file descriptor 2 is used as it
 * is.
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

#define QUEUE   ((size_t)64 << 10)
#define RESERVE ((size_t)16 << 10) /* for what must not be dropped */

static struct {
    pthread_mutex_t lock; /* guards all below */
    int fd;               /* owned unless 2; -1: not opened yet */
    dev_t device;         /* of what fd is: tests replace descriptor 2 */
    ino_t inode;
    size_t n;
    unsigned long dropped; /* lines since this was last said */
    char queue[QUEUE];
} out = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void open_again(const struct stat *now)
{
    bool waits = S_ISFIFO(now->st_mode) || isatty(STDERR_FILENO);
    if (out.fd > STDERR_FILENO)
        close(out.fd);
    out.fd = -1;
    if (waits)
        out.fd = open("/proc/self/fd/2",
                      O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (out.fd < 0)
        out.fd = STDERR_FILENO;
    out.device = now->st_dev;
    out.inode = now->st_ino;
}

static void find_output(void)
{
    struct stat now;
    if (fstat(STDERR_FILENO, &now) < 0)
        out.fd = STDERR_FILENO; /* closed: every write fails, as it should */
    else if (out.fd < 0 || now.st_dev != out.device || now.st_ino != out.inode)
        open_again(&now);
}

/* How much was taken; all of it where nobody will ever take it. */
static size_t write_some(const char *bytes, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(out.fd, bytes + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return errno == EAGAIN ? done : n;
        done += (size_t)k;
    }
    return done;
}

/* True when nothing waits any longer. */
static bool drain(void)
{
    size_t done = write_some(out.queue, out.n);
    memmove(out.queue, out.queue + done, out.n - done);
    out.n -= done;
    if (out.n > 0 || out.dropped == 0)
        return out.n == 0;
    int n = snprintf(out.queue, QUEUE,
                     "... %lu lines were dropped here, as nobody read them\n",
                     out.dropped);
    out.dropped = 0;
    out.n = (size_t)n;
    return drain();
}

static void put(const char *bytes, size_t n, enum stderr_value value)
{
    bool empty = drain();
    if (!empty && value == STDERR_TRANSIENT)
        return;
    size_t done = empty ? write_some(bytes, n) : 0;
    size_t room = QUEUE - (!empty && value == STDERR_INFO ? RESERVE : 0);
    if (out.n + n - done > room) {
        out.dropped++;
        return;
    }
    memcpy(out.queue + out.n, bytes + done, n - done);
    out.n += n - done;
}

void stderr_put(const char *bytes, size_t n, enum stderr_value value)
{
    pthread_mutex_lock(&out.lock);
    find_output();
    put(bytes, n, value);
    pthread_mutex_unlock(&out.lock);
}

void stderr_flush(void)
{
    double end = clock_now() + STDERR_FLUSH_S;
    pthread_mutex_lock(&out.lock);
    find_output();
    while (!drain() && clock_now() < end) {
        struct pollfd ready = {.fd = out.fd, .events = POLLOUT};
        poll(&ready, 1, 10);
    }
    pthread_mutex_unlock(&out.lock);
}
