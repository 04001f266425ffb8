/*
 * Included by every test program: cmocka with the headers it needs, capture of
 * log messages, and a scratch folder.
 */
#ifndef VOCDIST_TESTS_CHECK_H
#define VOCDIST_TESTS_CHECK_H

#include "base/file.h"
#include "base/log.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHECK_SKIP 77

/* Skips the test because something that scripts/test.sh installs is missing;
 * with CI=true it fails instead. */
static inline void check_skip(const char *missing)
{
    const char *ci = getenv("CI");
    if (ci && strcmp(ci, "true") == 0)
        fail_msg("%s is missing", missing);
    print_message("skipped: no %s\n", missing);
    skip();
}

/* Captured messages, for tests of what the user reads. */
struct check_log {
    char text[8192];
    size_t length;
};

static inline void check_log_sink(void *ctx, enum log_level level,
                                  const char *message)
{
    struct check_log *log = ctx;
    (void)level;
    int n = snprintf(log->text + log->length, sizeof log->text - log->length,
                     "%s\n", message);
    log->length += (size_t)n;
    if (log->length >= sizeof log->text)
        log->length = sizeof log->text - 1;
}

/* Redirects this thread's messages into `log` until check_log_end(). */
static inline void check_log_start(struct check_log *log)
{
    log->text[0] = '\0';
    log->length = 0;
    log_set_sink(check_log_sink, log);
}

static inline void check_log_end(void)
{
    log_set_sink(NULL, NULL);
}

#define assert_logged(log, part)                               \
    do {                                                       \
        if (!strstr((log)->text, (part)))                      \
            fail_msg("no \"%s\" in: %s", (part), (log)->text); \
    } while (0)

/* Fails if a or b is NaN. */
#define assert_near(a, b, tolerance)                                         \
    do {                                                                     \
        double a_ = (a), b_ = (b), t_ = (tolerance);                         \
        if (!(fabs(a_ - b_) <= t_))                                          \
            fail_msg("%s = %.9g, %s = %.9g, differ by more than %g", #a, a_, \
                     #b, b_, t_);                                            \
    } while (0)

/* Creates a scratch folder; the caller owns the returned path and removes both
 * with check_folder_remove(). */
static inline char *check_folder(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(4096);
    snprintf(path, 4096, "%s/vocdist-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void check_folder_remove(char *path)
{
    char command[4200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
    free(path);
}

/* Number of entries of a folder. */
static inline size_t check_count_files(const char *folder)
{
    struct file_list list;
    assert_int_equal(file_list_read(&list, folder), VD_OK);
    size_t n = list.n;
    file_list_clear(&list);
    return n;
}

#endif
