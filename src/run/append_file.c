#include "run/append_file.h"

#include "base/alloc.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum vd_err append_file_check(const char *path, int64_t length)
{
    struct stat info = {0};
    VD_TRY(file_check_output(path));
    if (lstat(path, &info) < 0 && errno != ENOENT)
        return VD_FAIL(VD_IO, "%s: %s", path, strerror(errno));
    if (info.st_size < length)
        return VD_FAIL(
            VD_DATA,
            "%s: %lld bytes, but the checkpoint recorded %lld\n"
            "the file was changed: restore the old one, or start a run "
            "of another name",
            path, (long long)info.st_size, (long long)length);
    return VD_OK;
}

static enum vd_err truncate_to(struct append_file *f, int fd, int64_t length)
{
    VD_TRY(append_file_check(f->path, length));
    if (ftruncate(fd, length) < 0)
        return VD_FAIL(VD_IO, "%s: %s", f->path, strerror(errno));
    return VD_OK;
}

/* Also makes the name of a new file durable. */
static enum vd_err init_new_file(struct append_file *f, const char *header)
{
    char *folder = file_dirname(f->path);
    enum vd_err err = file_sync(folder, folder);
    free(folder);
    return err == VD_OK && *header ? append_file_printf(f, "%s\n", header)
                                   : err;
}

enum vd_err append_file_open(struct append_file *f, const char *path,
                             const char *header, int64_t length)
{
    enum vd_err err = VD_OK;
    *f = (struct append_file){.path = xstrdup(path), .length = length};
    int fd = -1;
    VD_TRY_GOTO(fail, err, file_open_output(path, O_WRONLY | O_APPEND, &fd));
    VD_TRY_GOTO(fail, err, truncate_to(f, fd, length));
    f->stream = fdopen(fd, "a");
    VD_ASSERT(f->stream);
    if (length == 0)
        VD_TRY_GOTO(fail, err, init_new_file(f, header));
    return VD_OK;
fail:
    if (fd >= 0 && !f->stream)
        close(fd);
    append_file_close(f);
    return err;
}

enum vd_err append_file_printf(struct append_file *f, const char *format, ...)
{
    va_list args;
    if (f->may_append)
        VD_TRY(f->may_append(f->guard_ctx));
    va_start(args, format);
    int n = vfprintf(f->stream, format, args);
    va_end(args);
    if (n < 0 || fflush(f->stream))
        return VD_FAIL(VD_IO, "%s: cannot be written: %s\n" FILE_WRITE_REMEDY,
                       f->path, strerror(errno));
    f->length += n;
    return VD_OK;
}

void append_file_set_guard(struct append_file *f,
                           enum vd_err (*may_append)(void *ctx), void *ctx)
{
    f->may_append = may_append;
    f->guard_ctx = ctx;
}

enum vd_err append_file_sync(struct append_file *f)
{
    if (fsync(fileno(f->stream)) < 0)
        return VD_FAIL(VD_IO, "%s: fsync: %s\n" FILE_WRITE_REMEDY, f->path,
                       strerror(errno));
    return VD_OK;
}

void append_file_close(struct append_file *f)
{
    if (f->stream)
        fclose(f->stream);
    free(f->path);
    *f = (struct append_file){0};
}
