/*
 * One logger per process. A message takes these steps in log_write():
 *
 *   1. filter by level, and by rank: info and debug only on rank 0;
 *   2. format the text; if this thread has a sink, pass it there and return;
 *   3. add the prefix, and the remedy on a second line;
 *   4. under the lock, write to standard error through the queue of
 *      base/stderr_queue.h, and to the log file with a time stamp.
 *
 * Invariants: the lock covers the log file and the order of lines, never a
 * wait for a reader. Only an error waits for standard error, after unlocking.
 */
#include "base/log.h"

#include "base/stderr_queue.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_MESSAGE 4096

/* Global, as the standard error stream is. */
static struct {
    pthread_mutex_t lock;
    const char *program;
    enum log_level level;
    int rank, size;
    char host[64];
    int file_fd; /* owned; -1: none */
} logger = {
    .file_fd = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .program = "vocdist",
    .level = LOG_LEVEL_INFO,
    .size = 1,
};

/* Per thread, so that a sink gets the messages of its own thread only. */
static _Thread_local log_sink_fn *thread_sink;
static _Thread_local void *thread_sink_ctx;

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error: ",
    [LOG_LEVEL_WARN] = "warning: ",
    [LOG_LEVEL_INFO] = "",
    [LOG_LEVEL_DEBUG] = "debug: ",
};

void log_init(const char *program, enum log_level level)
{
    logger.program = program;
    logger.level = level;
    atexit(stderr_flush);
}

void log_set_level(enum log_level level)
{
    logger.level = level;
}

void log_set_rank(int rank, int size, const char *host)
{
    logger.rank = rank;
    logger.size = size;
    snprintf(logger.host, sizeof logger.host, "%s", host);
}

void log_set_file(int fd)
{
    pthread_mutex_lock(&logger.lock);
    int old = logger.file_fd;
    logger.file_fd = fd;
    pthread_mutex_unlock(&logger.lock);
    if (old >= 0)
        close(old);
}

static void format_prefix(enum log_level level, char *out, size_t capacity)
{
    if (logger.size > 1 && level <= LOG_LEVEL_WARN)
        snprintf(out, capacity, "[rank %d/%d %s] %s", logger.rank, logger.size,
                 logger.host, level_names[level]);
    else
        snprintf(out, capacity, "%s: %s", logger.program, level_names[level]);
}

/* Formats one line, or two if there is a remedy; returns the length. */
static size_t format_line(enum log_level level, const char *message, char *out,
                          size_t capacity)
{
    char prefix[160];
    const char *remedy = strchr(message, '\n');
    int length = remedy ? (int)(remedy - message) : (int)strlen(message);

    format_prefix(level, prefix, sizeof prefix);
    return (size_t)snprintf(out, capacity, "%s%.*s\n%s%s%s", prefix, length,
                            message, remedy ? "  ---> " : "",
                            remedy ? remedy + 1 : "", remedy ? "\n" : "");
}

static void write_to_file(int fd, const char *line)
{
    time_t now = time(NULL);
    struct tm local;
    char stamp[32];
    localtime_r(&now, &local);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S ", &local);
    dprintf(fd, "%s%s", stamp, line);
}

void log_write(enum log_level level, const char *format, va_list args)
{
    bool is_for_this_rank = logger.rank == 0 || level <= LOG_LEVEL_WARN;
    if (level > logger.level || (!is_for_this_rank && !thread_sink))
        return;

    char message[MAX_MESSAGE];
    vsnprintf(message, sizeof message, format, args);
    if (thread_sink) {
        thread_sink(thread_sink_ctx, level, message);
        return;
    }
    char line[MAX_MESSAGE + 256];
    size_t n = format_line(level, message, line, sizeof line);
    pthread_mutex_lock(&logger.lock);
    stderr_write(line, n,
                 level > LOG_LEVEL_WARN ? STDERR_INFO : STDERR_REQUIRED);
    if (logger.file_fd >= 0)
        write_to_file(logger.file_fd, line);
    pthread_mutex_unlock(&logger.lock);
    if (level == LOG_LEVEL_ERROR)
        stderr_flush();
}

#define DEFINE_LOG_FUNCTION(name, level) \
    void name(const char *format, ...)   \
    {                                    \
        va_list args;                    \
        va_start(args, format);          \
        log_write(level, format, args);  \
        va_end(args);                    \
    }
DEFINE_LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
DEFINE_LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
#undef DEFINE_LOG_FUNCTION

void log_at(enum log_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_write(level, format, args);
    va_end(args);
}

void log_warn_global(const char *format, ...)
{
    if (logger.rank != 0)
        return;
    va_list args;
    va_start(args, format);
    log_write(LOG_LEVEL_WARN, format, args);
    va_end(args);
}

void log_emergency(const char *format, ...)
{
    char prefix[160], message[1024], line[sizeof prefix + sizeof message];
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    va_list args;

    format_prefix(LOG_LEVEL_ERROR, prefix, sizeof prefix);
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    int n = snprintf(line, sizeof line, "%s%s\n", prefix, message);
    if (poll(&ready, 1, 1000) == 1 && write(STDERR_FILENO, line, (size_t)n) < n)
        return; // nothing to do; the result of write() must be used
}

struct log_sink log_swap_sink(struct log_sink now)
{
    struct log_sink before = {thread_sink, thread_sink_ctx};
    thread_sink = now.sink;
    thread_sink_ctx = now.ctx;
    return before;
}

void log_set_sink(log_sink_fn *sink, void *ctx)
{
    log_swap_sink((struct log_sink){sink, ctx});
}

void log_discard(void *ctx, enum log_level level, const char *message)
{
    (void)ctx;
    (void)level;
    (void)message;
}
