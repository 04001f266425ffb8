#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum vd_err read_all(int fd, const char *path, char *to, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t k = read(fd, to + got, n - got);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return VD_FAIL(VD_NOINPUT, "%s: %s", path, strerror(errno));
        if (k == 0)
            return VD_FAIL(VD_DATA, "%s: shrank while it was read", path);
        got += (size_t)k;
    }
    return VD_OK;
}

enum vd_err file_read(const char *path, size_t max_bytes, char **out,
                      size_t *n_bytes)
{
    enum vd_err err = VD_OK;
    char *bytes = NULL;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) < 0) {
        err = VD_FAIL(VD_NOINPUT, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        err = VD_FAIL(VD_DATA, "%s: not a regular file", path);
        goto out;
    }
    if ((size_t)info.st_size > max_bytes) {
        err = VD_FAIL(VD_DATA, "%s: %lld bytes, more than the %zu allowed here",
                      path, (long long)info.st_size, max_bytes);
        goto out;
    }
    bytes = mem_new((size_t)info.st_size + 1, 1);
    VD_TRY_ELSE(out, err, read_all(fd, path, bytes, (size_t)info.st_size));
    *out = bytes;
    *n_bytes = (size_t)info.st_size;
    bytes = NULL;
out:
    free(bytes);
    if (fd >= 0)
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

enum vd_err file_make_folder(const char *path)
{
    enum vd_err err = VD_OK;
    char *partial = mem_copy_text(path);
    for (char *p = partial + 1; err == VD_OK; p++) {
        if (*p && *p != '/')
            continue;
        char kept = *p;
        *p = '\0';
        if (mkdir(partial, 0777) < 0 && !file_is_folder(partial))
            err = VD_FAIL(VD_CREATE, "%s: %s", partial, strerror(errno));
        *p = kept;
        if (!kept)
            break;
    }
    free(partial);
    return err;
}

enum vd_err file_forget_cached(const char *path, int64_t *bytes)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool failed = fd < 0 || fstat(fd, &info) < 0;
    enum vd_err err =
        failed ? VD_FAIL(VD_IO, "%s: %s", path, strerror(errno)) : VD_OK;
    if (!failed) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        *bytes = info.st_size;
    }
    if (fd >= 0)
        close(fd);
    return err;
}

const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *file_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_copy_text(".");
    int n = slash == path ? 1 : (int)(slash - path);
    return mem_format("%.*s", n, path);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum vd_err file_list_read(struct file_list *list, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return VD_FAIL(VD_NOINPUT, "%s: %s", folder, strerror(errno));
    *list = (struct file_list){0};
    for (struct dirent *e; (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if ((list->n & (list->n - 1)) == 0)
            list->names = mem_grow(list->names, list->n ? 2 * list->n : 1,
                                   sizeof *list->names);
        list->names[list->n++] = mem_copy_text(e->d_name);
    }
    closedir(dir);
    if (list->n)
        qsort(list->names, list->n, sizeof *list->names, by_bytes);
    return VD_OK;
}

void file_list_clear(struct file_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct file_list){0};
}
