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

enum vd_err run_open(struct run *r, const char *dir, const char *name)
{
    *r = (struct run){.folder = mem_format("%s/%s", dir, name),
                      .checkpoints = mem_format("%s/%s/checkpoints", dir, name),
                      .lock_fd = -1};
    VD_TRY(file_make_folder(r->checkpoints));
    VD_TRY(lock(r));
    atomic_remove_left_overs(r->folder);
    return VD_OK;
}

enum vd_err run_open_series(struct run *r, const struct train_state *state)
{
    char *metrics = run_path(r, "metrics.csv");
    char *steps = run_path(r, "steps.jsonl");
    enum vd_err err = series_open(&r->metrics, metrics, RUN_METRICS_HEADER,
                                  state->metrics_bytes);
    if (err == VD_OK)
        err = series_open(&r->steps, steps, "", state->steps_bytes);
    free(metrics);
    free(steps);
    return err;
}

void run_close(struct run *r)
{
    if (log_set_file(NULL) != VD_OK)
        log_debug("closing the log failed");
    series_close(&r->metrics);
    series_close(&r->steps);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    free(r->folder);
    free(r->checkpoints);
    *r = (struct run){.lock_fd = -1};
}

char *run_path(const struct run *r, const char *name)
{
    return mem_format("%s/%s", r->folder, name);
}
