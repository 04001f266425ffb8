/*
 * A text file that grows line by line over many starts of a run: one header,
 * no gap, no doubled row. The checkpoint keeps its length; a resumed run cuts
 * the file back to that length and goes on. Lines reach the system at once;
 * append_file_sync() makes them durable. Local.
 */
#ifndef VOCDIST_REPORT_APPEND_FILE_H
#define VOCDIST_REPORT_APPEND_FILE_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct append_file {
    char *path; /* owned */
    FILE *stream;
    int64_t length; /* bytes */
    enum vd_err (*may_append)(
        void *ctx); /* see append_file_set_guard(); NULL: always */
    void *guard_ctx;
};

/*
 * Opens for going on after `length` bytes; 0 starts anew with `header` (may be
 * ""). VD_DATA when the file is shorter: it is not this run's; else as
 * file_open_output().
 */
enum vd_err append_file_open(struct append_file *f, const char *path,
                             const char *header, int64_t length) VD_MUST_USE;
/* VD_DATA where append_file_open() would say so; a missing file has 0 bytes. */
enum vd_err append_file_check(const char *path, int64_t length) VD_MUST_USE;
enum vd_err append_file_printf(struct append_file *f, const char *format,
                               ...) VD_MUST_USE
    __attribute__((format(printf, 2, 3)));
/* From here on asked before each line: an error is append_file_printf()'s. */
void append_file_set_guard(struct append_file *f,
                           enum vd_err (*may_append)(void *ctx), void *ctx);
enum vd_err append_file_sync(struct append_file *f) VD_MUST_USE;
void append_file_close(struct append_file *f);

#endif
