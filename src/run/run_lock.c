#include "run/run_lock.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define MAX_OWNER 512

enum lock_state { LOCK_ACQUIRED, LOCK_TAKEN, LOCK_UNSUPPORTED };

/* Some file systems support only one of the two kinds of locks, or none (Lustre
 * without the mount option flock). */
static enum lock_state try_lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return LOCK_ACQUIRED;
    if (errno == EWOULDBLOCK)
        return LOCK_TAKEN;
    if (fcntl(fd, F_SETLK, &whole) == 0)
        return LOCK_ACQUIRED;
    return errno == EACCES || errno == EAGAIN ? LOCK_TAKEN : LOCK_UNSUPPORTED;
}

/* A line for messages and a unique line; the caller frees them. */
static char *describe_owner(void)
{
    static unsigned count;
    char host[128] = "";
    struct timespec now;
    gethostname(host, sizeof host - 1);
    clock_gettime(CLOCK_REALTIME, &now);
    return xasprintf("process %ld on %s\n%lld.%09ld-%u\n", (long)getpid(), host,
                     (long long)now.tv_sec, now.tv_nsec, count++);
}

static enum vd_err write_owner(int fd, const char *path, const char *owner)
{
    size_t n = strlen(owner);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, owner, n, 0) != (ssize_t)n)
        return VD_FAIL(VD_CREATE, "%s: %s", path, strerror(errno));
    return VD_OK;
}

static enum vd_err fail_taken(const struct run_lock *l)
{
    char owner[MAX_OWNER] = "";
    ssize_t n = read(l->fd, owner, sizeof owner - 1);
    owner[n > 0 ? n : 0] = '\0';
    return VD_FAIL(VD_CREATE,
                   "%s: in use by %.*s\n"
                   "wait for it, end it, or give --train.name another name",
                   l->folder, (int)strcspn(owner, "\n"),
                   *owner ? owner : "another process");
}

enum vd_err run_lock_acquire(struct run_lock *l, const char *folder)
{
    *l = (struct run_lock){.fd = -1,
                           .path = xasprintf("%s/" RUN_LOCK_NAME, folder),
                           .folder = xstrdup(folder),
                           .owner = describe_owner()};
    pthread_mutex_init(&l->mutex, NULL);
    VD_TRY(file_open_output(l->path, O_RDWR, &l->fd));
    enum lock_state state = try_lock(l->fd);
    if (state == LOCK_UNSUPPORTED)
        log_warn("%s: this file system has no locks (%s)\n"
                 "make sure that no second job uses this run",
                 l->path, strerror(errno));
    return state == LOCK_TAKEN ? fail_taken(l)
                               : write_owner(l->fd, l->path, l->owner);
}

/* ---- still the owner? ---- */

static enum vd_err recreate_lock_file(struct run_lock *l)
{
    int fd = -1;
    VD_TRY(file_open_output(l->path, O_RDWR | O_EXCL, &fd));
    log_warn("%s: was removed while this process uses the run; recreated",
             l->path);
    close(l->fd);
    l->fd = fd;
    return try_lock(fd) == LOCK_TAKEN
               ? VD_FAIL(VD_CREATE,
                         "%s: locked by another process\n"
                         "this process ends; wait for the other one",
                         l->path)
               : write_owner(fd, l->path, l->owner);
}

static enum vd_err compare_owner(const struct run_lock *l)
{
    char *now = NULL;
    size_t n = 0;
    VD_TRY(file_read(l->path, MAX_OWNER, &now, &n));
    bool same = !strcmp(now, l->owner);
    enum vd_err err =
        same ? VD_OK
             : VD_FAIL(VD_CREATE,
                       "%s: taken over by %.*s\n"
                       "this process ends; the other one repeats the steps "
                       "since the last checkpoint",
                       l->folder, (int)strcspn(now, "\n"),
                       *now ? now : "another process");
    free(now);
    return err;
}

enum vd_err run_lock_check(struct run_lock *l)
{
    pthread_mutex_lock(&l->mutex);
    enum vd_err err =
        file_exists(l->path) ? compare_owner(l) : recreate_lock_file(l);
    pthread_mutex_unlock(&l->mutex);
    return err;
}

void run_lock_release(struct run_lock *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->path)
        pthread_mutex_destroy(&l->mutex);
    free(l->path);
    free(l->folder);
    free(l->owner);
    *l = (struct run_lock){.fd = -1};
}
