/*
 * Opens and reads files, creates and lists folders. store/atomic.h writes whole
 * files. Messages contain the path and strerror(). Local.
 *
 * Opening never blocks (as a FIFO without a writer would) and never acts on a
 * device: files that are not regular are rejected.
 */
#ifndef VOCDIST_BASE_FILE_H
#define VOCDIST_BASE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The remedy of messages about failed writes. */
#define FILE_WRITE_REMEDY                                                 \
    "check free space, quota, ulimit -f and the disk, then run the same " \
    "command again"

/*
 * Opens an input file. VD_NOINPUT if it cannot be opened, VD_DATA if it is not
 * a regular file, VD_SYSTEM if this process has too many open files. `fd`
 * is owned; close() it. `bytes` receives the length; it may be NULL.
 */
enum vd_err file_open_input(const char *path, int *fd,
                            int64_t *bytes) VD_MUST_USE;

/*
 * Opens an output file that is modified in place; creates it if it is missing.
 * `flags` are those of open(), without O_CREAT. VD_CREATE if it cannot be
 * opened, is not a regular file, or is a symbolic link (its target may belong
 * to somebody else); VD_SYSTEM if this process has too many open files. `fd`
 * is owned; close() it.
 */
enum vd_err file_open_output(const char *path, int flags, int *fd) VD_MUST_USE;
/* The same checks without opening the file, which may be missing. */
enum vd_err file_check_output(const char *path) VD_MUST_USE;

/* The file type of an st_mode, for messages: "a folder", "a FIFO". */
const char *file_type_name(unsigned mode);

/*
 * Reads the whole file and appends a NUL byte. Errors: those of
 * file_open_input(), and VD_DATA if the file is larger than `max_bytes`.
 * `out` is owned; free() it.
 */
enum vd_err file_read(const char *path, size_t max_bytes, char **out,
                      size_t *n_bytes) VD_MUST_USE;

bool file_exists(const char *path);
bool file_is_folder(const char *path);

/* Like mkdir -p; the new folders are durable (fsync of each parent). VD_CREATE;
 * VD_IO if fsync fails. */
enum vd_err file_make_folder(const char *path) VD_MUST_USE;

/* Advises the system to drop the file's pages from the page cache, so that the
 * next read comes from the disk; `bytes` receives the length. Errors: those of
 * file_open_input(). */
enum vd_err file_drop_page_cache(const char *path, int64_t *bytes) VD_MUST_USE;

/* Makes the data written to a file durable (fsync), or the entries of a folder.
 * VD_IO; the message calls the file `label`. */
enum vd_err file_sync(const char *path, const char *label) VD_MUST_USE;

/* The parts of a path: of "a/b/c.xml" the folder "a/b" (owned) and the name
 * "c.xml" (borrowed). */
char *file_dirname(const char *path);
const char *file_basename(const char *path);

/* Follows one symbolic link: "a/last", a link to "b.h5", gives "a/b.h5"; any
 * other path is returned unchanged. Owned. */
char *file_resolve_link(const char *path);

/* The names in a folder, sorted by byte value, without "." and "..". VD_NOINPUT
 * if it cannot be opened. */
struct file_list {
    char **names; /* owned */
    size_t n;
};
enum vd_err file_list_read(struct file_list *list,
                           const char *folder) VD_MUST_USE;
void file_list_clear(struct file_list *list);

#endif
