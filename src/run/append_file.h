/*
 * A text file that grows line by line over all starts of a run: one header, no
 * gap, no duplicate row. The checkpoint records its length; a resumed run
 * truncates the file to that length and appends. Each line is passed to the
 * kernel at once; append_file_sync() makes all of them durable. Local.
 */
#ifndef VOCDIST_RUN_APPEND_FILE_H
#define VOCDIST_RUN_APPEND_FILE_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct append_file {
    char *path;                           /* owned */
    FILE *stream;                         /* owned */
    int64_t length;                       /* bytes */
    enum vd_err (*may_append)(void *ctx); /* NULL: no check */
    void *guard_ctx;                      /* borrowed */
};

/*
 * Opens for appending after `length` bytes and truncates what follows them; 0
 * starts an empty file with the line `header` (may be ""). VD_DATA if the file
 * is shorter, as it was then changed or replaced; VD_IO; else errors as
 * file_open_output(). After an error there is nothing to close.
 */
enum vd_err append_file_open(struct append_file *f, const char *path,
                             const char *header, int64_t length) VD_MUST_USE;
/* Only the length check of append_file_open(); a missing file has 0 bytes. */
enum vd_err append_file_check(const char *path, int64_t length) VD_MUST_USE;
/* Appends formatted text, one or more lines. VD_IO if it cannot be written, or
 * the guard's error. */
enum vd_err append_file_printf(struct append_file *f, const char *format,
                               ...) VD_MUST_USE
    __attribute__((format(printf, 2, 3)));
/* Sets a guard: append_file_printf() calls it first and fails with its error.
 */
void append_file_set_guard(struct append_file *f,
                           enum vd_err (*may_append)(void *ctx), void *ctx);
/* VD_IO if fsync() fails. */
enum vd_err append_file_sync(struct append_file *f) VD_MUST_USE;
/* Without a sync. May be a zeroed one. */
void append_file_close(struct append_file *f);

#endif
