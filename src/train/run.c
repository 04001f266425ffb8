#include "train/run.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LOCK          ".lock"
#define MAX_OWNER     512
#define OWNER_CHECK_S 1.0 /* between two looks at .lock for rows */

enum lock_state { LOCK_MINE, LOCK_TAKEN, LOCK_NONE };

/* Held as long as the process lives, whatever ends it. Some file systems
 * (Lustre mounted without) have only one of the two kinds, or none. */
static enum lock_state try_lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return LOCK_MINE;
    if (errno == EWOULDBLOCK)
        return LOCK_TAKEN;
    if (fcntl(fd, F_SETLK, &whole) == 0)
        return LOCK_MINE;
    return errno == EACCES || errno == EAGAIN ? LOCK_TAKEN : LOCK_NONE;
}

/* One line for people, one that no other process has. Owned. */
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

static enum vd_err lock_folder(struct run *r)
{
    enum vd_err err = VD_OK;
    char owner[MAX_OWNER] = "", *path = run_path(r, LOCK);
    r->owner = describe_owner();
    VD_TRY_GOTO(out, err, file_open_output(path, O_RDWR, &r->lock_fd));
    enum lock_state state = try_lock(r->lock_fd);
    if (state == LOCK_NONE)
        log_warn("%s: this file system has no locks (%s): make sure that no "
                 "second job is in this run",
                 path, strerror(errno));
    if (state != LOCK_TAKEN) {
        err = write_owner(r->lock_fd, path, r->owner);
        goto out;
    }
    ssize_t n = read(r->lock_fd, owner, sizeof owner - 1);
    owner[n > 0 ? n : 0] = '\0';
    err = VD_FAIL(VD_CREATE,
                  "%s: %.*s is in this run\n"
                  "wait for it, end it, or give --train.name another name",
                  r->folder, (int)strcspn(owner, "\n"),
                  *owner ? owner : "another process");
out:
    free(path);
    return err;
}

/* ---- still ours? ---- */

/* Somebody removed the file that we hold. */
static enum vd_err recreate_lock(struct run *r, const char *path)
{
    int fd = -1;
    VD_TRY(file_open_output(path, O_RDWR | O_EXCL, &fd));
    log_warn("%s: was removed while this process is in the run; written again",
             path);
    close(r->lock_fd);
    r->lock_fd = fd;
    return try_lock(fd) == LOCK_TAKEN
               ? VD_FAIL(VD_CREATE, "%s: taken by another process", path)
               : write_owner(fd, path, r->owner);
}

static enum vd_err compare_owner(const struct run *r, const char *path)
{
    char *now = NULL;
    size_t n = 0;
    VD_TRY(file_read(path, MAX_OWNER, &now, &n));
    bool same = !strcmp(now, r->owner);
    enum vd_err err =
        same ? VD_OK
             : VD_FAIL(VD_CREATE,
                       "%s: taken over by %.*s\n"
                       "this process ends; what it did since its last "
                       "checkpoint is done again there",
                       r->folder, (int)strcspn(now, "\n"),
                       *now ? now : "another process");
    free(now);
    return err;
}

enum vd_err run_check_owner(void *run)
{
    struct run *r = run;
    char *path = run_path(r, LOCK);
    pthread_mutex_lock(&r->owner_lock);
    enum vd_err err =
        file_exists(path) ? compare_owner(r, path) : recreate_lock(r, path);
    pthread_mutex_unlock(&r->owner_lock);
    free(path);
    return err;
}

/* Of the main thread. */
static enum vd_err check_owner_for_row(void *run)
{
    struct run *r = run;
    if (clock_now() - r->owner_checked < OWNER_CHECK_S)
        return VD_OK;
    VD_TRY(run_check_owner(r));
    r->owner_checked = clock_now();
    return VD_OK;
}

/* ---- opening ---- */

static enum vd_err create_folder(struct run *r, const char *folder)
{
    r->folder = xstrdup(folder);
    r->checkpoints = run_path(r, "checkpoints");
    VD_TRY(file_make_folder(r->checkpoints));
    VD_TRY(lock_folder(r));
    atomic_remove_stale(r->folder);
    return VD_OK;
}

static void init_paths(struct run *r, const char *dir, const char *name)
{
    *r = (struct run){.own_folder = xasprintf("%s/%s", dir, name),
                      .own_checkpoints =
                          xasprintf("%s/%s/checkpoints", dir, name),
                      .lock_fd = -1};
    pthread_mutex_init(&r->owner_lock, NULL);
}

/* Files that a run writes: nothing but regular files may be in their place. */
static enum vd_err check_files(const char *folder)
{
    static const char *const names[] = {LOCK,          "log.txt",
                                        "metrics.csv", "steps.jsonl",
                                        "config.yaml", "run.json"};
    enum vd_err err = VD_OK;
    for (size_t i = 0; err == VD_OK && i < sizeof names / sizeof *names; i++) {
        char *path = xasprintf("%s/%s", folder, names[i]);
        err = file_check_output(path);
        free(path);
    }
    return err;
}

enum vd_err run_open(struct run *r, const char *dir, const char *name)
{
    init_paths(r, dir, name);
    VD_TRY(check_files(r->own_folder));
    return create_folder(r, r->own_folder);
}

/* What a scratch session elsewhere does not find out. */
static enum vd_err check_writable(const char *folder)
{
    if (file_exists(folder) && !file_is_folder(folder))
        errno = ENOTDIR;
    else if (!file_exists(folder) || access(folder, W_OK | X_OK) == 0)
        return VD_OK;
    return VD_FAIL(VD_CREATE, "%s: %s\ngive --train.name another name", folder,
                   strerror(errno));
}

enum vd_err run_open_scratch(struct run *r, const char *dir, const char *name)
{
    init_paths(r, dir, name);
    VD_TRY(check_writable(r->own_folder));
    VD_TRY(check_writable(r->own_checkpoints));
    VD_TRY(check_files(r->own_folder));
    VD_TRY(scratch_open(&r->scratch, dir, name));
    return create_folder(r, r->scratch.folder);
}

/* A scratch session's begins anew, if the run's own could go on. */
static enum vd_err open_append_file(struct run *r, struct append_file *s,
                                    const char *name, const char *header,
                                    int64_t length)
{
    char *path = run_path(r, name),
         *real = xasprintf("%s/%s", r->own_folder, name);
    enum vd_err err = append_file_check(real, length);
    if (err == VD_OK)
        err = append_file_open(s, path, header, r->scratch.folder ? 0 : length);
    if (err == VD_OK)
        append_file_set_guard(s, check_owner_for_row, r);
    free(path);
    free(real);
    return err;
}

enum vd_err run_open_append_files(struct run *r,
                                  const struct train_state *state)
{
    VD_TRY(open_append_file(r, &r->metrics, "metrics.csv", RUN_METRICS_HEADER,
                            state->metrics_bytes));
    return open_append_file(r, &r->steps, "steps.jsonl", "",
                            state->steps_bytes);
}

void run_close(struct run *r)
{
    log_set_file(-1);
    append_file_close(&r->metrics);
    append_file_close(&r->steps);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    scratch_close(&r->scratch);
    free(r->folder);
    free(r->checkpoints);
    free(r->own_folder);
    free(r->own_checkpoints);
    free(r->owner);
    *r = (struct run){.lock_fd = -1};
}

char *run_path(const struct run *r, const char *name)
{
    return xasprintf("%s/%s", r->folder, name);
}
