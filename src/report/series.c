#include "report/series.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REMEDY                                                              \
    "make room (disk, quota, ulimit -f), then run the same command again: " \
    "it resumes from the last checkpoint"

enum vd_err series_check(const char *path, int64_t length)
{
    struct stat info = {0};
    VD_TRY(file_check_output(path));
    if (lstat(path, &info) < 0 && errno != ENOENT)
        return VD_FAIL(VD_IO, "%s: %s", path, strerror(errno));
    if (info.st_size < length)
        return VD_FAIL(VD_DATA,
                       "%s: %lld bytes, but the checkpoint knows %lld\n"
                       "it was changed by hand; put the old one back, or start "
                       "a run of another name",
                       path, (long long)info.st_size, (long long)length);
    return VD_OK;
}

static enum vd_err cut_back(struct series *s, int fd, int64_t length)
{
    VD_TRY(series_check(s->path, length));
    if (ftruncate(fd, length) < 0)
        return VD_FAIL(VD_IO, "%s: %s", s->path, strerror(errno));
    return VD_OK;
}

/* A new file's name must not get lost, either. */
static enum vd_err start_anew(struct series *s, const char *header)
{
    char *folder = file_folder(s->path);
    enum vd_err err = file_sync(folder, folder);
    free(folder);
    return err == VD_OK && *header ? series_add(s, "%s\n", header) : err;
}

enum vd_err series_open(struct series *s, const char *path, const char *header,
                        int64_t length)
{
    enum vd_err err = VD_OK;
    *s = (struct series){.path = mem_copy_text(path), .length = length};
    int fd = -1;
    VD_TRY_ELSE(fail, err, file_open_output(path, O_WRONLY | O_APPEND, &fd));
    VD_TRY_ELSE(fail, err, cut_back(s, fd, length));
    s->stream = fdopen(fd, "a");
    VD_ASSERT(s->stream);
    if (length == 0)
        VD_TRY_ELSE(fail, err, start_anew(s, header));
    return VD_OK;
fail:
    if (fd >= 0 && !s->stream)
        close(fd);
    series_close(s);
    return err;
}

enum vd_err series_add(struct series *s, const char *format, ...)
{
    va_list args;
    if (s->may_add)
        VD_TRY(s->may_add(s->guard_ctx));
    va_start(args, format);
    int n = vfprintf(s->stream, format, args);
    va_end(args);
    if (n < 0 || fflush(s->stream))
        return VD_FAIL(VD_IO, "%s: cannot be written: %s\n" REMEDY, s->path,
                       strerror(errno));
    s->length += n;
    return VD_OK;
}

void series_guard(struct series *s, enum vd_err (*may_add)(void *ctx),
                  void *ctx)
{
    s->may_add = may_add;
    s->guard_ctx = ctx;
}

enum vd_err series_sync(struct series *s)
{
    if (fsync(fileno(s->stream)) < 0)
        return VD_FAIL(VD_IO, "%s: fsync: %s\n" REMEDY, s->path,
                       strerror(errno));
    return VD_OK;
}

void series_close(struct series *s)
{
    if (s->stream)
        fclose(s->stream);
    free(s->path);
    *s = (struct series){0};
}
