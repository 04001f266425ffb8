/*
 * Files that exist whole or not at all, also after a power cut: a temporary
 * name in the same folder, write, fsync, rename, fsync of the folder.
 * (Measured with simulated power cuts: leaving out either fsync loses or ages
 * the file.) fsync is never retried. What a process that died has left is
 * called NAME.tmp-PROCESS-NUMBER and is nobody's.
 *
 *     struct atomic_file f;
 *     VD_TRY(atomic_open(&f, "out/labels.csv"));
 *     fprintf(f.stream, ...);
 *     VD_TRY(atomic_commit(&f));          on any error: atomic_abort(&f)
 *
 * Local. VD_CREATE when it cannot be created, VD_IO when a later step fails:
 * the message names path, step and reason; the old file is untouched and the
 * temporary one removed.
 */
#ifndef VOCDIST_STORE_ATOMIC_H
#define VOCDIST_STORE_ATOMIC_H

#include "base/err.h"

#include <stddef.h>
#include <stdio.h>

struct atomic_file {
    char *path, *temporary; /* owned */
    FILE *stream;           /* owned; NULL when others write `temporary` */
    int reason;             /* of the first atomic_append() that failed, or 0 */
};

/* Opens `temporary` for writing through `stream`. */
enum vd_err atomic_open(struct atomic_file *f, const char *path) VD_MUST_USE;
/* Writes through `stream`; atomic_commit() tells of a failure. */
void atomic_append(struct atomic_file *f, const void *bytes, size_t n);
/* Only reserves the name: a library (HDF5) creates `temporary` and closes it
 * before atomic_commit. */
enum vd_err atomic_reserve(struct atomic_file *f, const char *path) VD_MUST_USE;
enum vd_err atomic_commit(struct atomic_file *f) VD_MUST_USE;
/* Accepts a file that was committed, aborted or never opened ({0}). */
void atomic_abort(struct atomic_file *f);

enum vd_err atomic_write(const char *path, const void *bytes,
                         size_t n) VD_MUST_USE;

/* The symbolic link path -> target, new or replaced; durable as well. */
enum vd_err atomic_symlink(const char *path, const char *target) VD_MUST_USE;

/* Removes the temporary files of dead processes from a folder that only this
 * process writes into. What cannot be removed is a warning. */
void atomic_remove_stale(const char *folder);

#endif
