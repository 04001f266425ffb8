#include "train/run.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LOCK      ".lock"
#define MAX_OWNER 512
#define ROWS_S    1.0 /* between two looks at .lock for rows */

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
    return mem_format("process %ld on %s\n%lld.%09ld-%u\n", (long)getpid(),
                      host, (long long)now.tv_sec, now.tv_nsec, count++);
}

static enum vd_err write_owner(int fd, const char *path, const char *owner)
{
    size_t n = strlen(owner);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, owner, n, 0) != (ssize_t)n)
        return VD_FAIL(VD_CREATE, "%s: %s", path, strerror(errno));
    return VD_OK;
}

static enum vd_err lock(struct run *r)
{
    enum vd_err err = VD_OK;
    char owner[MAX_OWNER] = "", *path = run_path(r, LOCK);
    r->owner = describe_owner();
    VD_TRY_ELSE(out, err, file_open_output(path, O_RDWR, &r->lock_fd));
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
static enum vd_err lock_again(struct run *r, const char *path)
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
    pthread_mutex_lock(&r->owning);
    enum vd_err err =
        file_exists(path) ? compare_owner(r, path) : lock_again(r, path);
    pthread_mutex_unlock(&r->owning);
    free(path);
    return err;
}

/* Of the main thread. */
static enum vd_err check_for_row(void *run)
{
    struct run *r = run;
    if (clock_now() - r->asked < ROWS_S)
        return VD_OK;
    VD_TRY(run_check_owner(r));
    r->asked = clock_now();
    return VD_OK;
}

/* ---- opening ---- */

static enum vd_err make(struct run *r, const char *folder)
{
    r->folder = mem_copy_text(folder);
    r->checkpoints = run_path(r, "checkpoints");
    VD_TRY(file_make_folder(r->checkpoints));
    VD_TRY(lock(r));
    atomic_remove_left_overs(r->folder);
    return VD_OK;
}

static void find_real(struct run *r, const char *dir, const char *name)
{
    *r = (struct run){.real = mem_format("%s/%s", dir, name),
                      .past = mem_format("%s/%s/checkpoints", dir, name),
                      .lock_fd = -1};
    pthread_mutex_init(&r->owning, NULL);
}

/* Files that a run writes: nothing but regular files may be in their place. */
static enum vd_err check_files(const char *folder)
{
    static const char *const names[] = {LOCK,          "log.txt",
                                        "metrics.csv", "steps.jsonl",
                                        "config.yaml", "run.json"};
    enum vd_err err = VD_OK;
    for (size_t i = 0; err == VD_OK && i < sizeof names / sizeof *names; i++) {
        char *path = mem_format("%s/%s", folder, names[i]);
        err = file_check_output(path);
        free(path);
    }
    return err;
}

enum vd_err run_open(struct run *r, const char *dir, const char *name)
{
    find_real(r, dir, name);
    VD_TRY(check_files(r->real));
    return make(r, r->real);
}

/* What a trial elsewhere does not find out. */
static enum vd_err check_real(const char *folder)
{
    if (file_exists(folder) && !file_is_folder(folder))
        errno = ENOTDIR;
    else if (!file_exists(folder) || access(folder, W_OK | X_OK) == 0)
        return VD_OK;
    return VD_FAIL(VD_CREATE, "%s: %s\ngive --train.name another name", folder,
                   strerror(errno));
}

enum vd_err run_open_trial(struct run *r, const char *dir, const char *name)
{
    find_real(r, dir, name);
    VD_TRY(check_real(r->real));
    VD_TRY(check_real(r->past));
    VD_TRY(check_files(r->real));
    VD_TRY(scratch_open(&r->scratch, dir, name));
    return make(r, r->scratch.folder);
}

/* A trial's begins anew, if the run's own could go on. */
static enum vd_err open_one(struct run *r, struct series *s, const char *name,
                            const char *header, int64_t length)
{
    char *path = run_path(r, name), *real = mem_format("%s/%s", r->real, name);
    enum vd_err err = series_check(real, length);
    if (err == VD_OK)
        err = series_open(s, path, header, r->scratch.folder ? 0 : length);
    if (err == VD_OK)
        series_guard(s, check_for_row, r);
    free(path);
    free(real);
    return err;
}

enum vd_err run_open_series(struct run *r, const struct train_state *state)
{
    VD_TRY(open_one(r, &r->metrics, "metrics.csv", RUN_METRICS_HEADER,
                    state->metrics_bytes));
    return open_one(r, &r->steps, "steps.jsonl", "", state->steps_bytes);
}

void run_close(struct run *r)
{
    if (log_set_file(NULL) != VD_OK)
        log_debug("closing the log failed");
    series_close(&r->metrics);
    series_close(&r->steps);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    scratch_close(&r->scratch);
    free(r->folder);
    free(r->checkpoints);
    free(r->real);
    free(r->past);
    free(r->owner);
    *r = (struct run){.lock_fd = -1};
}

char *run_path(const struct run *r, const char *name)
{
    return mem_format("%s/%s", r->folder, name);
}
