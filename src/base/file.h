/*
 * Reading files and walking folders. Writing goes through store/atomic.h.
 * Messages name the path and the system's reason. Local.
 */
#ifndef VOCDIST_BASE_FILE_H
#define VOCDIST_BASE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The whole file, a NUL byte behind it. VD_NOINPUT when it cannot be opened,
 * VD_DATA when it is larger than `max_bytes`. `out` is owned; free() it.
 */
enum vd_err file_read(const char *path, size_t max_bytes, char **out,
                      size_t *n_bytes) VD_MUST_USE;

bool file_exists(const char *path);
bool file_is_folder(const char *path);

/* Like mkdir -p. */
enum vd_err file_make_folder(const char *path) VD_MUST_USE;

/* The file's length; what of it is in memory is let go, as far as the system
 * grants that, so that reading it means the disk. VD_IO. */
enum vd_err file_forget_cached(const char *path, int64_t *bytes) VD_MUST_USE;

/* "a/b/c.xml": its folder "a/b" (owned), its name "c.xml" (borrowed). */
char *file_folder(const char *path);
const char *file_name(const char *path);

/* Names in a folder, sorted by byte value, without "." and "..". */
struct file_list {
    char **names; /* owned */
    size_t n;
};
enum vd_err file_list_read(struct file_list *list,
                           const char *folder) VD_MUST_USE;
void file_list_clear(struct file_list *list);

#endif
