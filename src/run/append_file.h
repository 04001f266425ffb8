/*
 * A text file that grows line by line over all starts of a run: one header, no
 * gap, no row twice. The checkpoint records its length; a resumed run truncates
 * the file to that length and appends. Lines reach the system at once;
 * append_file_sync() makes them durable. Local.
 */
#ifndef VOCDIST_RUN_APPEND_FILE_H
#define VOCDIST_RUN_APPEND_FILE_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct append_file {
    char *path; /* owned */
    FILE *stream;
    int64_t length;                       /* bytes */
    enum vd_err (*may_append)(void *ctx); /* NULL: always */
    void *guard_ctx;
};

/*
 * Opens for appending after `length` bytes; 0 starts an empty file with
 * `header` (may be ""). VD_DATA when the file is shorter, so not this run's;
 * else as file_open_output().
 */
enum vd_err append_file_open(struct append_file *f, const char *path,
                             const char *header, int64_t length) VD_MUST_USE;
/* The length check of append_file_open(); a missing file has 0 bytes. */
enum vd_err append_file_check(const char *path, int64_t length) VD_MUST_USE;
enum vd_err append_file_printf(struct append_file *f, const char *format,
                               ...) VD_MUST_USE
    __attribute__((format(printf, 2, 3)));
/* From here on append_file_printf() calls `may_append` before each line and
 * fails with its error. */
void append_file_set_guard(struct append_file *f,
                           enum vd_err (*may_append)(void *ctx), void *ctx);
enum vd_err append_file_sync(struct append_file *f) VD_MUST_USE;
void append_file_close(struct append_file *f);

#endif
