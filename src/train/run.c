#include "train/run.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

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

static enum vd_err write_owner(int fd, const char *path)
{
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    if (ftruncate(fd, 0) < 0 ||
        dprintf(fd, "process %ld on %s", (long)getpid(), host) < 0)
        return VD_FAIL(VD_CREATE, "%s: %s", path, strerror(errno));
    return VD_OK;
}

static enum vd_err lock(struct run *r)
{
    enum vd_err err = VD_OK;
    char owner[256] = "", *path = run_path(r, ".lock");
    VD_TRY_ELSE(out, err, file_open_output(path, O_RDWR, &r->lock_fd));
    enum lock_state state = try_lock(r->lock_fd);
    if (state == LOCK_NONE)
        log_warn("%s: this file system has no locks (%s): make sure that no "
                 "second job is in this run",
                 path, strerror(errno));
    if (state == LOCK_MINE)
        err = write_owner(r->lock_fd, path);
    if (state != LOCK_TAKEN)
        goto out;
    ssize_t n = read(r->lock_fd, owner, sizeof owner - 1);
    owner[n > 0 ? n : 0] = '\0';
    err = VD_FAIL(VD_CREATE,
                  "%s: %s is in this run\n"
                  "wait for it, end it, or give --train.name another name",
                  r->folder, *owner ? owner : "another process");
out:
    free(path);
    return err;
}

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
}

/* Files that a run writes: nothing but regular files may be in their place. */
static enum vd_err check_files(const char *folder)
{
    static const char *const names[] = {".lock",       "log.txt",
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
static enum vd_err open_one(const struct run *r, struct series *s,
                            const char *name, const char *header,
                            int64_t length)
{
    char *path = run_path(r, name), *real = mem_format("%s/%s", r->real, name);
    enum vd_err err = series_check(real, length);
    if (err == VD_OK)
        err = series_open(s, path, header, r->scratch.folder ? 0 : length);
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
    *r = (struct run){.lock_fd = -1};
}

char *run_path(const struct run *r, const char *name)
{
    return mem_format("%s/%s", r->folder, name);
}
