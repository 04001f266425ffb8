#include "train/run.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Held as long as the process lives, whatever ends it. */
static enum vd_err lock(struct run *r)
{
    enum vd_err err = VD_OK;
    char owner[256] = "", *path = run_path(r, ".lock");
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock_fd < 0) {
        err = VD_FAIL(VD_CREATE, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        char host[128] = "";
        gethostname(host, sizeof host - 1);
        if (ftruncate(r->lock_fd, 0) < 0 ||
            dprintf(r->lock_fd, "process %ld on %s", (long)getpid(), host) < 0)
            err = VD_FAIL(VD_CREATE, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (errno != EWOULDBLOCK)
        goto out; /* no locks on this file system: go on without */
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
    return lock(r);
}

static void find_real(struct run *r, const char *dir, const char *name)
{
    *r = (struct run){.real = mem_format("%s/%s", dir, name),
                      .past = mem_format("%s/%s/checkpoints", dir, name),
                      .lock_fd = -1};
}

enum vd_err run_open(struct run *r, const char *dir, const char *name)
{
    find_real(r, dir, name);
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
