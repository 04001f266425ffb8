/*
 * Log lines on standard error and, after log_set_file(), in a file.
 * Errors are logged by VD_FAIL (base/err.h), which uses this module.
 *
 * Messages are in lower case, give the exact cause, and write "key value"
 * without '='. The second line of a message (after '\n') is its remedy, printed
 * as "---> remedy".
 *
 *     vocdist: error: data/train: no shards here
 *       ---> make them with: vocpack pack VOCROOT -o data/train
 *     [rank 3/8 node07] warning: ...
 *
 * Only rank 0 writes info and debug lines; every rank writes its own warnings
 * and errors. A full pipe or a stopped terminal does not block: see
 * base/stderr_queue.h. All calls are Local and, except for log_init(),
 * thread-safe.
 */
#ifndef VOCDIST_BASE_LOG_H
#define VOCDIST_BASE_LOG_H

#include <stdarg.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Call it once, before threads start. `program` must be a static string. */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
void log_set_rank(int rank, int size, const char *host);

/* Writes every line to the descriptor `fd` too, with a time stamp. The log owns
 * it, and closes it when another one is set; -1: no file. Open it with O_APPEND
 * (file_open_output()). */
void log_set_file(int fd);

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))
void log_error(const char *format, ...) LOG_PRINTF;
void log_warn(const char *format, ...) LOG_PRINTF;
void log_info(const char *format, ...) LOG_PRINTF;
void log_debug(const char *format, ...) LOG_PRINTF;
/* A warning that all ranks have in common: only rank 0 writes it. */
void log_warn_global(const char *format, ...) LOG_PRINTF;
void log_at(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_write(enum log_level level, const char *format, va_list args);

/*
 * Writes one error message directly to standard error: takes no lock, uses no
 * heap, does not write to the log file, and waits at most 1 s for standard
 * error to accept it. For a process that exits right afterwards, while its
 * other threads may hold any lock. A remedy is passed as "\n  ---> REMEDY".
 */
void log_emergency(const char *format, ...) LOG_PRINTF;

/*
 * Redirects this thread's messages to `sink` until it is set to NULL: for
 * callers that collect problems (data check) and for tests that read messages.
 */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *message);
void log_set_sink(log_sink_fn *sink, void *ctx);
/* A sink that drops all messages. */
void log_discard(void *ctx, enum log_level level, const char *message);
struct log_sink {
    log_sink_fn *sink;
    void *ctx;
};
/* Sets `now` as the sink of this thread; returns the previous one, so that the
 * caller can restore it. */
struct log_sink log_swap_sink(struct log_sink now);

#endif
