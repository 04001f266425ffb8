/*
 * Error codes: one for each kind of failure that a caller can tell apart.
 *
 * The function that detects a failure logs its cause, once. Its callers return
 * the code unchanged:
 *
 *     return VD_FAIL(VD_DATA, "%s: line %d: box without area\n"
 *                             "give it a positive width and height", ...);
 *     VD_TRY(shard_open(&s, path));
 *     VD_TRY_GOTO(out, err, shard_open(&s, path));
 *
 * In a message the text before the first newline is the cause (what and where).
 * The text after it is the remedy, which is printed on its own line.
 *
 * All calls are Local: none of them communicates. Ranks agree on a code with
 * comm_agree(), which takes the maximum, so the codes are in order of severity.
 */
#ifndef VOCDIST_BASE_ERR_H
#define VOCDIST_BASE_ERR_H

/* X(name, exit code as in sysexits.h, meaning) */
#define VD_ERR_MAP(X)                                           \
    X(VD_OK, 0, "ok")                                           \
    X(VD_STOPPED, 75, "stopped early, run again to resume")     \
    X(VD_USAGE, 64, "bad command line")                         \
    X(VD_CONFIG, 78, "bad configuration, or ranks that differ") \
    X(VD_NOINPUT, 66, "input missing")                          \
    X(VD_DATA, 65, "input malformed")                           \
    X(VD_CREATE, 73, "output cannot be created")                \
    X(VD_IO, 74, "write failed")                                \
    X(VD_UNSUPPORTED, 69, "not supported by this build")        \
    X(VD_DEVICE, 69, "device failed")                           \
    X(VD_COMM, 69, "communication failed")                      \
    X(VD_NUMERIC, 76, "loss not finite, or not falling")        \
    X(VD_SYSTEM, 71, "out of memory or refused by the system")  \
    X(VD_BUG, 70, "internal error")

#define VD_MUST_USE __attribute__((warn_unused_result))

#define VD_ERR_NAME(name, code, text) name,
enum vd_err { VD_ERR_MAP(VD_ERR_NAME) VD_ERR_COUNT };
#undef VD_ERR_NAME

/* The exit status of a program that fails with this code. */
int err_exit_code(enum vd_err err);

/* The meaning, for a table or a summary: "input malformed". */
const char *err_text(enum vd_err err);

/* Logs the message at level error and returns `err`. Call it by VD_FAIL. */
enum vd_err err_raise(enum vd_err err, const char *file, int line,
                      const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Reports a bug in this program and aborts. Call it by VD_ASSERT. */
_Noreturn void err_bug(const char *file, int line, const char *what);

#define VD_FAIL(err, ...) err_raise((err), __FILE__, __LINE__, __VA_ARGS__)

#define VD_TRY(call)                      \
    do {                                  \
        enum vd_err vd_try_err_ = (call); \
        if (vd_try_err_ != VD_OK)         \
            return vd_try_err_;           \
    } while (0)

#define VD_TRY_GOTO(label, err, call) \
    do {                              \
        (err) = (call);               \
        if ((err) != VD_OK)           \
            goto label;               \
    } while (0)

/* For bugs in this program only, never for input; active in every build. */
#define VD_ASSERT(cond)                         \
    do {                                        \
        if (!(cond))                            \
            err_bug(__FILE__, __LINE__, #cond); \
    } while (0)

#endif
