/*
 * A text file that grows line by line over many starts of a run: one header,
 * no gap, no doubled row. The checkpoint keeps its length; a resumed run cuts
 * the file back to that length and goes on. Lines reach the system at once;
 * series_sync() makes them durable. Local.
 */
#ifndef VOCDIST_REPORT_SERIES_H
#define VOCDIST_REPORT_SERIES_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct series {
    char *path; /* owned */
    FILE *stream;
    int64_t length;                    /* bytes */
    enum vd_err (*may_add)(void *ctx); /* see series_guard(); NULL: always */
    void *guard_ctx;
};

/*
 * Opens for going on after `length` bytes; 0 starts anew with `header` (may be
 * ""). VD_DATA when the file is shorter: it is not this run's; else as
 * file_open_output().
 */
enum vd_err series_open(struct series *s, const char *path, const char *header,
                        int64_t length) VD_MUST_USE;
/* VD_DATA where series_open() would say so; a missing file has 0 bytes. */
enum vd_err series_check(const char *path, int64_t length) VD_MUST_USE;
enum vd_err series_add(struct series *s, const char *format, ...) VD_MUST_USE
    __attribute__((format(printf, 2, 3)));
/* From here on asked before each line: an error is series_add()'s. */
void series_guard(struct series *s, enum vd_err (*may_add)(void *ctx),
                  void *ctx);
enum vd_err series_sync(struct series *s) VD_MUST_USE;
void series_close(struct series *s);

#endif
