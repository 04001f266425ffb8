/*
 * Opening and reading files, walking folders. Whole files are written through
 * store/atomic.h. Messages name the path and the system's reason. Local.
 *
 * Opening never waits (a FIFO without a writer), and never acts on a device:
 * what is not a regular file is refused.
 */
#ifndef VOCDIST_BASE_FILE_H
#define VOCDIST_BASE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An input file. VD_NOINPUT when it cannot be opened, VD_DATA when it is not a
 * regular file, VD_SYSTEM when this process has too many open files. `fd` is
 * owned; close() it. `bytes` is the length, may be NULL.
 */
enum vd_err file_open_input(const char *path, int *fd,
                            int64_t *bytes) VD_MUST_USE;

/*
 * A file of ours that is changed in place, created where it is missing;
 * `flags` as for open(), without O_CREAT. VD_CREATE when it cannot be opened or
 * is no regular file, and for a symbolic link, whose target is not ours.
 */
enum vd_err file_open_output(const char *path, int flags, int *fd) VD_MUST_USE;
/* The same verdict on a file that may be missing, without opening it. */
enum vd_err file_check_output(const char *path) VD_MUST_USE;

/* "a folder", "a FIFO": what a file of this st_mode is. */
const char *file_type_name(unsigned mode);

/*
 * The whole file, a NUL byte behind it. Errors as of file_open_input();
 * VD_DATA also when it is larger than `max_bytes`. `out` is owned; free() it.
 */
enum vd_err file_read(const char *path, size_t max_bytes, char **out,
                      size_t *n_bytes) VD_MUST_USE;

bool file_exists(const char *path);
bool file_is_folder(const char *path);

/* Like mkdir -p; what it makes is there after a power cut, too. */
enum vd_err file_make_folder(const char *path) VD_MUST_USE;

/* The file's length; what of it is in memory is let go, as far as the system
 * grants that, so that reading it means the disk. Errors as of
 * file_open_input(). */
enum vd_err file_drop_page_cache(const char *path, int64_t *bytes) VD_MUST_USE;

/* What was written to the file is durable; of a folder: the names in it.
 * VD_IO; the message calls it `label`. */
enum vd_err file_sync(const char *path, const char *label) VD_MUST_USE;

/* "a/b/c.xml": its folder "a/b" (owned), its name "c.xml" (borrowed). */
char *file_dirname(const char *path);
const char *file_basename(const char *path);

/* "a/last", a link to "b.h5": "a/b.h5"; what is no link as it is. Owned. */
char *file_resolve_link(const char *path);

/* Names in a folder, sorted by byte value, without "." and "..". */
struct file_list {
    char **names; /* owned */
    size_t n;
};
enum vd_err file_list_read(struct file_list *list,
                           const char *folder) VD_MUST_USE;
void file_list_clear(struct file_list *list);

#endif
