/*
 * Log lines on standard error, and in a file once a run has one.
 *
 * Lower case, the exact cause, "key value" without '='. A message's second
 * line (after '\n') is its remedy, shown as "---> remedy".
 *
 *     vocdist: error: data/train: no shards here
 *       ---> make them with: vocpack pack VOCROOT -o data/train
 *     [rank 3/8 node07] warning: ...
 *
 * info and debug lines are written by rank 0 alone, warnings and errors by
 * the rank that has them. Nobody has to read standard error: see
 * base/stderr_queue.h. All calls are Local and thread-safe.
 */
#ifndef VOCDIST_BASE_LOG_H
#define VOCDIST_BASE_LOG_H

#include "base/err.h"

#include <stdarg.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Once, before threads start. `program` is borrowed for ever. */
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
void log_set_rank(int rank, int size, const char *host);

/* Appends every line to this file too; NULL closes it. Errors as of
 * file_open_output(). */
enum vd_err log_set_file(const char *path) VD_MUST_USE;

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))
void log_error(const char *format, ...) LOG_PRINTF;
void log_warn(const char *format, ...) LOG_PRINTF;
void log_info(const char *format, ...) LOG_PRINTF;
void log_debug(const char *format, ...) LOG_PRINTF;
/* A warning that every rank would give: rank 0 speaks for all. */
void log_warn_global(const char *format, ...) LOG_PRINTF;
void log_at(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_write(enum log_level level, const char *format, va_list args);

/*
 * One error line straight to standard error: no lock, no heap, not into the
 * file, and never waiting for a reader. For a process whose other threads may
 * be stuck anywhere and that ends right after.
 */
void log_emergency(const char *format, ...) LOG_PRINTF;

/*
 * Diverts this thread's lines to `sink` until it is set to NULL: for callers
 * that collect problems (data check) and for tests that read messages.
 */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *message);
void log_set_sink(log_sink_fn *sink, void *ctx);
/* A sink for messages that nobody shall hear. */
void log_discard(void *ctx, enum log_level level, const char *message);
/* The same for a while: returns what was set before, to be set again. */
struct log_sink {
    log_sink_fn *sink;
    void *ctx;
};
struct log_sink log_swap_sink(struct log_sink now);

#endif
