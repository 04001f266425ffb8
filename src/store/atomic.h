/*
 * Atomic files: after a crash or a power cut a file exists completely or not
 * at all. Temporary name in the same folder, write, fsync, rename, fsync of the
 * folder. (Measured with simulated power cuts: without either fsync the file is
 * lost, or the old one is back.) fsync is never retried. A process that dies
 * leaves NAME.tmp-PROCESS-NUMBER behind; no other process writes to that file.
 *
 *     struct atomic_file f;
 *     VD_TRY(atomic_open(&f, "out/labels.csv"));
 *     fprintf(f.stream, ...);
 *     VD_TRY(atomic_commit(&f));          on any error: atomic_abort(&f)
 *
 * Local. VD_CREATE if the file cannot be created, VD_IO if a later step fails:
 * the message names path, step and reason, the old file is unchanged and the
 * temporary file is removed.
 */
#ifndef VOCDIST_STORE_ATOMIC_H
#define VOCDIST_STORE_ATOMIC_H

#include "base/err.h"

#include <stddef.h>
#include <stdio.h>

struct atomic_file {
    char *path, *temporary; /* owned */
    FILE *stream;           /* owned; NULL after atomic_reserve() */
    int reason; /* errno of the first failed atomic_append(), or 0 */
};

/* Opens `temporary` for writing through `stream`. */
enum vd_err atomic_open(struct atomic_file *f, const char *path) VD_MUST_USE;
/* Writes through `stream`; a failure is reported by atomic_commit(). */
void atomic_append(struct atomic_file *f, const void *bytes, size_t n);
/* Reserves the name only: a library (HDF5) writes `temporary`, and closes it
 * before atomic_commit(). */
enum vd_err atomic_reserve(struct atomic_file *f, const char *path) VD_MUST_USE;
/* Makes the file durable under its final name; always clears `f`. */
enum vd_err atomic_commit(struct atomic_file *f) VD_MUST_USE;
/* Removes the temporary file. No-op if committed, aborted or never opened
 * ({0}). */
void atomic_abort(struct atomic_file *f);

/* Open, append and commit in one call. */
enum vd_err atomic_write(const char *path, const void *bytes,
                         size_t n) VD_MUST_USE;

/* Creates or replaces the symbolic link path -> target, durably. */
enum vd_err atomic_symlink(const char *path, const char *target) VD_MUST_USE;

/* Removes the temporary files of dead processes from a folder that no other
 * process writes into. Warns about files that cannot be removed. */
void atomic_remove_stale(const char *folder);

#endif
