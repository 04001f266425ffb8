/*
 * Errors: one code per failure a caller can tell apart.
 *
 * The first function that knows the cause says so, once, and everyone above
 * passes the code on:
 *
 *     return VD_FAIL(VD_DATA, "%s: line %d: box without area\n"
 *                             "give it a positive width and height", ...);
 *     VD_TRY(shard_open(&s, path));
 *     VD_TRY_GOTO(out, err, shard_open(&s, path));
 *
 * In a message the text up to the first newline is the cause (what and where);
 * what follows the newline is the remedy, shown on a line of its own.
 *
 * Raising is Local: none of this communicates. Ranks agree on a code with
 * comm_agree(), which takes the largest one; hence the order of severity.
 */
#ifndef VOCDIST_BASE_ERR_H
#define VOCDIST_BASE_ERR_H

/* X(name, exit code of sysexits.h, what it means) */
#define VD_ERR_MAP(X)                                             \
    X(VD_OK, 0, "ok")                                             \
    X(VD_STOPPED, 75, "stopped early, run again to resume")       \
    X(VD_USAGE, 64, "bad command line")                           \
    X(VD_CONFIG, 78, "bad configuration, or ranks that disagree") \
    X(VD_NOINPUT, 66, "input missing")                            \
    X(VD_DATA, 65, "input malformed")                             \
    X(VD_CREATE, 73, "output cannot be created")                  \
    X(VD_IO, 74, "write failed")                                  \
    X(VD_UNSUPPORTED, 69, "a part that was not built")            \
    X(VD_DEVICE, 69, "device failed")                             \
    X(VD_COMM, 69, "communication failed")                        \
    X(VD_NUMERIC, 76, "loss not finite, or not falling")          \
    X(VD_SYSTEM, 71, "out of memory or refused by the system")    \
    X(VD_BUG, 70, "internal error")

#define VD_MUST_USE __attribute__((warn_unused_result))

#define VD_ERR_NAME(name, code, text) name,
enum vd_err { VD_ERR_MAP(VD_ERR_NAME) VD_ERR_COUNT };
#undef VD_ERR_NAME

/* Exit status of a program that ends with this code. */
int err_exit_code(enum vd_err err);

/* "input malformed": a phrase for a table or a summary. */
const char *err_text(enum vd_err err);

/* Logs the message at level error and returns `err`. Use VD_FAIL. */
enum vd_err err_raise(enum vd_err err, const char *file, int line,
                      const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Ends the process after a bug of ours was found. Use VD_ASSERT. */
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

/* For our own mistakes only, never for input; on in every build. */
#define VD_ASSERT(cond)                         \
    do {                                        \
        if (!(cond))                            \
            err_bug(__FILE__, __LINE__, #cond); \
    } while (0)

#endif
