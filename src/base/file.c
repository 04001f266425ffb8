/*
 * Opening is a check, an open, and a second check on the descriptor, because
 * the path may change in between:
 *
 *   input    open with O_NONBLOCK, so that a FIFO does not block and a terminal
 *            is not acquired; then fstat() must show a regular file
 *   output   lstat() rejects links and special files with a precise message;
 *            then open with O_NOFOLLOW | O_NONBLOCK; then fstat() again
 *
 * Invariant: a returned descriptor belongs to a regular file.
 */
#include "base/file.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

const char *file_type_name(unsigned mode)
{
    return S_ISREG(mode)    ? "a regular file"
           : S_ISDIR(mode)  ? "a folder"
           : S_ISLNK(mode)  ? "a symbolic link"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

static enum vd_err fail_open(enum vd_err err, const char *path, int reason)
{
    struct rlimit limit = {0};
    if (reason != EMFILE)
        return VD_FAIL(err, "%s: %s\ncheck the path and its permissions", path,
                       strerror(reason));
    getrlimit(RLIMIT_NOFILE, &limit);
    return VD_FAIL(VD_SYSTEM,
                   "%s: %s; the limit of this process is %llu\n"
                   "raise it (ulimit -n), or pack the data into fewer, larger "
                   "shards (vocpack pack --shard-size)",
                   path, strerror(reason), (unsigned long long)limit.rlim_cur);
}

/* ---- opening ---- */

static enum vd_err fail_not_regular(enum vd_err err, const char *path,
                                    mode_t mode)
{
    return VD_FAIL(err, "%s: not a regular file, but %s\n%s", path,
                   file_type_name(mode),
                   err == VD_DATA ? "give the name of a file"
                                  : "remove it, or move it away");
}

enum vd_err file_open_input(const char *path, int *fd, int64_t *bytes)
{
    struct stat info;
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (opened < 0) /* open() of a socket fails with ENXIO */
        return errno == ENXIO && stat(path, &info) == 0
                   ? fail_not_regular(VD_DATA, path, info.st_mode)
                   : fail_open(VD_NOINPUT, path, errno);
    enum vd_err err = VD_OK;
    if (fstat(opened, &info) < 0)
        err = fail_open(VD_NOINPUT, path, errno);
    else if (!S_ISREG(info.st_mode))
        err = fail_not_regular(VD_DATA, path, info.st_mode);
    if (err != VD_OK) {
        close(opened);
        return err;
    }
    *fd = opened;
    if (bytes)
        *bytes = info.st_size;
    return VD_OK;
}

static enum vd_err check_output_type(const char *path, mode_t mode)
{
    if (S_ISLNK(mode))
        return VD_FAIL(VD_CREATE,
                       "%s: a symbolic link; writing would change the file it "
                       "points to\nremove the link; only the folders of a run "
                       "may be links",
                       path);
    return S_ISREG(mode) ? VD_OK : fail_not_regular(VD_CREATE, path, mode);
}

enum vd_err file_check_output(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0)
        return check_output_type(path, info.st_mode);
    return errno == ENOENT || errno == ENOTDIR
               ? VD_OK
               : fail_open(VD_CREATE, path, errno);
}

enum vd_err file_open_output(const char *path, int flags, int *fd)
{
    struct stat info = {0};
    VD_TRY(file_check_output(path)); /* more precise than errno */
    int opened = open(
        path, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
        0666);
    if (opened < 0)
        return fail_open(VD_CREATE, path, errno);
    if (fstat(opened, &info) == 0 && S_ISREG(info.st_mode)) {
        *fd = opened;
        return VD_OK;
    }
    close(opened);
    return fail_not_regular(VD_CREATE, path, info.st_mode);
}

/* ---- reading ---- */

static enum vd_err read_exactly(int fd, const char *path, char *to, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t k = read(fd, to + got, n - got);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return VD_FAIL(VD_NOINPUT,
                           "%s: read: %s\ncheck the disk and its file system",
                           path, strerror(errno));
        if (k == 0)
            return VD_FAIL(VD_DATA,
                           "%s: the file shrank while it was being read\n"
                           "do not change input files while they are in use",
                           path);
        got += (size_t)k;
    }
    return VD_OK;
}

enum vd_err file_read(const char *path, size_t max_bytes, char **out,
                      size_t *n_bytes)
{
    char *bytes = NULL;
    int64_t length = 0;
    int fd = -1;
    VD_TRY(file_open_input(path, &fd, &length));
    enum vd_err err = VD_OK;
    if ((uint64_t)length > max_bytes) {
        err = VD_FAIL(VD_DATA,
                      "%s: %lld bytes, more than the %zu allowed\n"
                      "check that this is the intended file",
                      path, (long long)length, max_bytes);
        goto out;
    }
    bytes = xcalloc((size_t)length + 1, 1);
    VD_TRY_GOTO(out, err, read_exactly(fd, path, bytes, (size_t)length));
    *out = bytes;
    *n_bytes = (size_t)length;
    bytes = NULL;
out:
    free(bytes);
    close(fd);
    return err;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum vd_err file_sync(const char *path, const char *label)
{
    /* fsync() acts on the file, whichever descriptor the data came through. */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd), reason = errno;
    if (fd >= 0)
        close(fd);
    return failed ? VD_FAIL(VD_IO, "%s: fsync: %s\n" FILE_WRITE_REMEDY, label,
                            strerror(reason))
                  : VD_OK;
}

static enum vd_err make_folder_durable(const char *path)
{
    if (mkdir(path, 0777) == 0) {
        char *parent = file_dirname(path);
        enum vd_err err = file_sync(parent, parent);
        free(parent);
        return err;
    }
    int reason = errno;
    return file_is_folder(path) ? VD_OK : fail_open(VD_CREATE, path, reason);
}

enum vd_err file_make_folder(const char *path)
{
    enum vd_err err = VD_OK;
    char *partial = xstrdup(path);
    for (char *p = partial + 1; err == VD_OK; p++) {
        if (*p && *p != '/')
            continue;
        char kept = *p;
        *p = '\0';
        err = make_folder_durable(partial);
        *p = kept;
        if (!kept)
            break;
    }
    free(partial);
    return err;
}

enum vd_err file_drop_page_cache(const char *path, int64_t *bytes)
{
    int fd = -1;
    VD_TRY(file_open_input(path, &fd, bytes));
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return VD_OK;
}

const char *file_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *file_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    int n = slash == path ? 1 : (int)(slash - path);
    return xasprintf("%.*s", n, path);
}

char *file_resolve_link(const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0)
        return xstrdup(path);
    target[n] = '\0';
    char *folder = file_dirname(path);
    char *out =
        *target == '/' ? xstrdup(target) : xasprintf("%s/%s", folder, target);
    free(folder);
    return out;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum vd_err file_list_read(struct file_list *list, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return fail_open(VD_NOINPUT, folder, errno);
    *list = (struct file_list){0};
    for (struct dirent *e; (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if ((list->n & (list->n - 1)) == 0)
            list->names = xreallocarray(list->names, list->n ? 2 * list->n : 1,
                                        sizeof *list->names);
        list->names[list->n++] = xstrdup(e->d_name);
    }
    closedir(dir);
    if (list->n)
        qsort(list->names, list->n, sizeof *list->names, compare_names);
    return VD_OK;
}

void file_list_clear(struct file_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct file_list){0};
}
