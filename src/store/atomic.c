/*
 * Atomic replacement of a file: write a temporary file, then rename it.
 *
 * Steps: create PATH.tmp-PROCESS-K with O_EXCL; write; fsync of the file;
 * rename to PATH; fsync of the folder. A crash between any two steps leaves
 * the old file or the new one complete, and at most a temporary file, which
 * atomic_remove_stale() deletes later. After an error the temporary file is
 * removed and PATH is unchanged, unless only the fsync of the folder failed.
 */
#include "store/atomic.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names that are tried; dead processes leave far fewer files. */
#define MAX_TRIES 1000

static void clear_atomic_file(struct atomic_file *f)
{
    free(f->path);
    free(f->temporary);
    *f = (struct atomic_file){0};
}

void atomic_abort(struct atomic_file *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->temporary)
        unlink(f->temporary);
    clear_atomic_file(f);
}

/* rename() would replace a device (/dev/null) or a link (/dev/stdout) for all
 * users of the machine. If the target is a folder, rename() fails anyway. */
static enum vd_err check_replaceable(const char *path)
{
    struct stat s;
    if (lstat(path, &s) || S_ISREG(s.st_mode) || S_ISDIR(s.st_mode))
        return VD_OK;
    return VD_FAIL(VD_CREATE,
                   "%s: not a regular file, but a link or a device; writing "
                   "would replace it\ngive the name of a regular file",
                   path);
}

/*
 * Creates a new temporary file. O_EXCL fails if the name belongs to another
 * thread, to a process with the same number on another host, or to a dead
 * process; the next number is tried then.
 */
static enum vd_err create_temporary(struct atomic_file *f, const char *path,
                                    int *out)
{
    *f = (struct atomic_file){0};
    VD_TRY(check_replaceable(path));
    for (int k = 0; k < MAX_TRIES; k++) {
        char *name = xasprintf("%s.tmp-%ld-%d", path, (long)getpid(), k);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            f->path = xstrdup(path);
            f->temporary = name;
            *out = fd;
            return VD_OK;
        }
        int reason = errno;
        free(name);
        if (reason != EEXIST)
            return VD_FAIL(VD_CREATE,
                           "%s: open: %s\ncheck the folder, its permissions "
                           "and free space",
                           path, strerror(reason));
    }
    return VD_FAIL(VD_CREATE,
                   "%s: open: %d temporary files exist already\n"
                   "remove the files %s.tmp-*",
                   path, MAX_TRIES, path);
}

enum vd_err atomic_reserve(struct atomic_file *f, const char *path)
{
    int fd = -1;
    VD_TRY(create_temporary(f, path, &fd));
    close(fd);
    return VD_OK;
}

enum vd_err atomic_open(struct atomic_file *f, const char *path)
{
    int fd = -1;
    VD_TRY(create_temporary(f, path, &fd));
    f->stream = fdopen(fd, "w");
    VD_ASSERT(f->stream);
    return VD_OK;
}

static enum vd_err fail_step(const struct atomic_file *f, const char *step,
                             int reason)
{
    return VD_FAIL(VD_IO, "%s: %s: %s\n" FILE_WRITE_REMEDY, f->path, step,
                   strerror(reason));
}

static enum vd_err sync_stream(struct atomic_file *f)
{
    /* An earlier write through `stream` may have failed unchecked: ferror()
     * still reports it, but errno is lost. */
    errno = 0;
    if (fflush(f->stream) || ferror(f->stream)) {
        int reason = f->reason ? f->reason : errno;
        return fail_step(f, "write", reason ? reason : EIO);
    }
    if (fsync(fileno(f->stream)))
        return fail_step(f, "fsync", errno);
    FILE *stream = f->stream;
    f->stream = NULL;
    if (fclose(stream))
        return fail_step(f, "close", errno);
    return VD_OK;
}

static enum vd_err sync_folder(const char *path)
{
    char *folder = file_dirname(path);
    enum vd_err err = file_sync(folder, folder);
    free(folder);
    return err;
}

static enum vd_err rename_temporary(struct atomic_file *f)
{
    if (rename(f->temporary, f->path))
        return fail_step(f, "rename", errno);
    free(f->temporary); /* another process may create this name now */
    f->temporary = NULL;
    return sync_folder(f->path);
}

enum vd_err atomic_commit(struct atomic_file *f)
{
    enum vd_err err =
        f->stream ? sync_stream(f) : file_sync(f->temporary, f->path);
    if (err == VD_OK)
        err = rename_temporary(f);
    if (err == VD_OK)
        clear_atomic_file(f);
    else
        atomic_abort(f);
    return err;
}

void atomic_append(struct atomic_file *f, const void *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, f->stream) != n && !f->reason)
        f->reason = errno;
}

enum vd_err atomic_write(const char *path, const void *bytes, size_t n)
{
    struct atomic_file f;
    VD_TRY(atomic_open(&f, path));
    atomic_append(&f, bytes, n);
    return atomic_commit(&f);
}

enum vd_err atomic_symlink(const char *path, const char *target)
{
    enum vd_err err = VD_OK;
    char *temporary = NULL;
    /* EEXIST: the name is in use, left by a dead process with this number. */
    int reason = EEXIST;
    for (int k = 0; reason == EEXIST && k < MAX_TRIES; k++) {
        free(temporary);
        temporary = xasprintf("%s.tmp-%ld-%d", path, (long)getpid(), k);
        reason = symlink(target, temporary) ? errno : 0;
    }
    if (reason)
        err = VD_FAIL(VD_IO, "%s: symlink: %s\n" FILE_WRITE_REMEDY, path,
                      strerror(reason));
    else if (rename(temporary, path)) {
        err = VD_FAIL(VD_IO, "%s: rename: %s\n" FILE_WRITE_REMEDY, path,
                      strerror(errno));
        unlink(temporary);
    }
    free(temporary);
    return err == VD_OK ? sync_folder(path) : err;
}

/* True for names that create_temporary() makes: "f.tmp-12-0". */
static bool is_stale_temporary(const char *name)
{
    const char *digits = "0123456789", *end = NULL;
    for (const char *p = name; (p = strstr(p, ".tmp-")); p = end)
        end = p + strlen(".tmp-");
    if (!end || end == name + strlen(".tmp-"))
        return false;
    size_t n = strspn(end, digits);
    return n && end[n] == '-' && end[n + 1] &&
           !end[n + 1 + strspn(end + n + 1, digits)];
}

void atomic_remove_stale(const char *folder)
{
    struct file_list list;
    if (file_list_read(&list, folder) != VD_OK)
        return;
    for (size_t i = 0; i < list.n; i++) {
        if (!is_stale_temporary(list.names[i]))
            continue;
        char *path = xasprintf("%s/%s", folder, list.names[i]);
        if (unlink(path))
            log_warn("%s: cannot be removed: %s\n"
                     "check the permissions of the folder",
                     path, strerror(errno));
        free(path);
    }
    file_list_clear(&list);
}
