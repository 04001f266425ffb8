/*
 * The base of a plugin: err.h, log.h and memory.h implemented by calls to the
 * program. Linked into plugins in place of err.c, log.c and memory.c; never
 * into the program. See plugin.h.
 */
#include "backend/plugin.h"
#include "base/memory.h"

#include <stdio.h>

#define MAX_MESSAGE 4096

static const struct plugin_host *host;

void plugin_base_start(const struct plugin_host *program)
{
    host = program;
}

/* ---- base/err.h ---- */

enum vd_err err_raise(enum vd_err err, const char *file, int line,
                      const char *format, ...)
{
    char message[MAX_MESSAGE];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return host->raise(err, file, line, message);
}

void err_bug(const char *file, int line, const char *what)
{
    host->bug(file, line, what);
}

/* ---- base/log.h ---- */

#define FORWARD(level_, format_)                   \
    do {                                           \
        va_list args_;                             \
        va_start(args_, format_);                  \
        host->log_write((level_), format_, args_); \
        va_end(args_);                             \
    } while (0)

void log_write(enum log_level level, const char *format, va_list args)
{
    host->log_write(level, format, args);
}

void log_error(const char *format, ...)
{
    FORWARD(LOG_LEVEL_ERROR, format);
}

void log_warn(const char *format, ...)
{
    FORWARD(LOG_LEVEL_WARN, format);
}

void log_info(const char *format, ...)
{
    FORWARD(LOG_LEVEL_INFO, format);
}

void log_debug(const char *format, ...)
{
    FORWARD(LOG_LEVEL_DEBUG, format);
}

void log_at(enum log_level level, const char *format, ...)
{
    FORWARD(level, format);
}

void log_warn_global(const char *format, ...)
{
    char message[MAX_MESSAGE];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    host->log_warn_global(message);
}

/* ---- base/memory.h ---- */

enum vd_err memory_raise_oom(const char *what, size_t bytes)
{
    return host->memory_raise_oom(what, bytes);
}

enum vd_err memory_raise_no_thread(const char *what, int cause)
{
    return host->memory_raise_no_thread(what, cause);
}

void memory_exit_oom(size_t bytes)
{
    host->memory_exit_oom(bytes);
}

enum vd_err memory_check_available(const char *what, size_t bytes)
{
    return host->memory_check_available(what, bytes);
}

bool memory_is_low(void)
{
    return host->memory_is_low();
}

size_t memory_thread_stacks(int n)
{
    return host->memory_thread_stacks(n);
}
