/*
 * One snapshot at a time: checkpoint_writer_start() joins the previous thread,
 * passes the snapshot to a new thread and returns. The thread checks that this
 * process still owns the run, writes the file, checks again (writing may have
 * taken long), sets the links, logs "saved PATH" and removes checkpoints older
 * than the last `keep`. The next start or wait returns its error.
 *
 * If a write fails (disk full, quota), checkpoint_write() removes the temporary
 * file and logs path and reason; the links and all older checkpoints stay. The
 * caller agrees on the error with all ranks at the next save or at the end
 * (train/session_save.c), and the job ends with exit code 74.
 */
#include "run/checkpoint_writer.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "run/checkpoint_folder.h"
#include "store/atomic.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct checkpoint_writer {
    char *folder;
    const struct graph *graph;
    size_t keep;
    enum vd_err (*may_write)(void *ctx); /* or NULL */
    void *guard_ctx;
    struct checkpoint snapshot; /* owned by the thread while it runs */
    bool running;
    pthread_t thread;
    enum vd_err err;
};

static void remove_step(const struct checkpoint_writer *w, uint64_t step)
{
    char *path = checkpoint_path(w->folder, step);
    if (unlink(path) < 0)
        log_warn("%s: cannot be removed: %s", path, strerror(errno));
    free(path);
}

/* Whether the link folder/name points to this step's file. */
static bool links_to(const struct checkpoint_writer *w, const char *name,
                     uint64_t step)
{
    char target[PATH_MAX], *link = xasprintf("%s/%s", w->folder, name);
    char *own = checkpoint_name(step);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    bool same = !strcmp(target, own);
    free(link);
    free(own);
    return same;
}

/*
 * Of the checkpoints up to `last`, removes all but the newest `keep` and the
 * best one. Checkpoints after `last` are damaged (the run was resumed from an
 * older one): they do not count, and are overwritten when the run reaches their
 * steps. Removes nothing if `last` points to none of the files.
 */
static enum vd_err prune_checkpoints(const struct checkpoint_writer *w)
{
    struct checkpoint_list list;
    size_t seen = 0, end;
    VD_TRY(checkpoint_list_read(&list, w->folder));
    for (end = list.n; end > 0; end--)
        if (links_to(w, "last", list.steps[end - 1]))
            break;
    enum vd_err err =
        end > 0 ? checkpoint_restore_best(w->folder, list.steps[end - 1])
                : VD_OK;
    for (; err == VD_OK && end > 0; end--)
        if (seen++ >= w->keep && !links_to(w, "best", list.steps[end - 1]))
            remove_step(w, list.steps[end - 1]);
    free(list.steps);
    return err;
}

static enum vd_err check_may_write(const struct checkpoint_writer *w)
{
    return w->may_write ? w->may_write(w->guard_ctx) : VD_OK;
}

static enum vd_err write_and_link(struct checkpoint_writer *w)
{
    char *path = checkpoint_path(w->folder, w->snapshot.step);
    enum vd_err err = check_may_write(w);
    if (err == VD_OK)
        err = checkpoint_write(&w->snapshot, w->graph, path);
    if (err == VD_OK)
        err = check_may_write(w); /* writing may have taken long */
    if (err == VD_OK)
        err = checkpoint_link(&w->snapshot, path);
    if (err == VD_OK) {
        log_info("saved %s", path);
        err = prune_checkpoints(w);
    }
    free(path);
    return err;
}

static void *writer_thread(void *ctx)
{
    struct checkpoint_writer *w = ctx;
    w->err = write_and_link(w);
    checkpoint_clear(&w->snapshot);
    return NULL;
}

enum vd_err checkpoint_writer_new(struct checkpoint_writer **out,
                                  const char *folder, const struct graph *g,
                                  int keep)
{
    VD_TRY(file_make_folder(folder));
    struct checkpoint_writer *w = xcalloc(1, sizeof *w);
    w->folder = xstrdup(folder);
    w->graph = g;
    w->keep = (size_t)keep;
    atomic_remove_stale(folder);
    enum vd_err err =
        prune_checkpoints(w); /* a killed process may not have done it */
    if (err == VD_OK)
        *out = w;
    else
        checkpoint_writer_free(w);
    return err;
}

void checkpoint_writer_set_guard(struct checkpoint_writer *w,
                                 enum vd_err (*may_write)(void *ctx), void *ctx)
{
    w->may_write = may_write;
    w->guard_ctx = ctx;
}

enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c)
{
    VD_TRY(checkpoint_writer_wait(w));
    w->snapshot = *c;
    *c = (struct checkpoint){0};
    int cause = pthread_create(&w->thread, NULL, writer_thread, w);
    if (cause) {
        checkpoint_clear(&w->snapshot);
        return memory_raise_no_thread("writing checkpoints", cause);
    }
    w->running = true;
    return VD_OK;
}

enum vd_err checkpoint_writer_wait(struct checkpoint_writer *w)
{
    if (w->running)
        pthread_join(w->thread, NULL);
    w->running = false;
    enum vd_err err = w->err;
    w->err = VD_OK;
    return err;
}

void checkpoint_writer_free(struct checkpoint_writer *w)
{
    if (!w)
        return;
    if (w->running)
        pthread_join(w->thread, NULL);
    free(w->folder);
    free(w);
}
