/* The thread that writes checkpoints beside training. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/memory.h"
#include "train/checkpoint.h"

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
    struct checkpoint snapshot; /* owned by the thread while it runs */
    bool best, running;
    pthread_t thread;
    enum vd_err err;
};

/* folder/name -> target, replaced in one rename. */
static enum vd_err set_link(const struct checkpoint_writer *w, const char *name,
                            const char *target)
{
    enum vd_err err = VD_OK;
    char *path = mem_format("%s/%s", w->folder, name);
    char *temporary = mem_format("%s/.%s.%ld", w->folder, name, (long)getpid());
    unlink(temporary);
    if (symlink(target, temporary) < 0 || rename(temporary, path) < 0)
        err = VD_FAIL(VD_IO, "%s: %s", path, strerror(errno));
    free(path);
    free(temporary);
    return err;
}

static void remove_file(const struct checkpoint_writer *w, const char *name)
{
    char *path = mem_format("%s/%s", w->folder, name);
    if (unlink(path) < 0)
        log_warn("%s: cannot be removed: %s", path, strerror(errno));
    free(path);
}

/*
 * Removes all but the newest `keep` up to the one just written, `newest`, and
 * the best one. What is newer is damaged (a resumed run goes on from an older
 * one then): it must not push whole ones out, and is overwritten in time.
 */
static void prune(const struct checkpoint_writer *w, const char *newest)
{
    struct file_list list;
    char best[PATH_MAX] = "", *link = mem_format("%s/best", w->folder);
    ssize_t n = readlink(link, best, sizeof best - 1);
    best[n > 0 ? n : 0] = '\0';
    free(link);
    if (file_list_read(&list, w->folder) != VD_OK)
        return;
    size_t seen = 0;
    for (size_t i = list.n; i > 0; i--) {
        const char *name = list.names[i - 1];
        if (!checkpoint_is_name(name) || strcmp(name, newest) > 0 ||
            seen++ < w->keep || !strcmp(name, best))
            continue;
        remove_file(w, name);
    }
    file_list_clear(&list);
}

/* Unfinished files of processes that died while they wrote. */
static void remove_left_overs(const struct checkpoint_writer *w)
{
    struct file_list list;
    if (file_list_read(&list, w->folder) != VD_OK)
        return;
    for (size_t i = 0; i < list.n; i++)
        if (!strncmp(list.names[i], "step-", 5) &&
            strstr(list.names[i], ".h5.tmp-"))
            remove_file(w, list.names[i]);
    file_list_clear(&list);
}

static enum vd_err publish(struct checkpoint_writer *w)
{
    enum vd_err err;
    char *name =
        mem_format("step-%08llu.h5", (unsigned long long)w->snapshot.step);
    char *path = mem_format("%s/%s", w->folder, name);
    err = checkpoint_write(&w->snapshot, w->graph, path);
    if (err == VD_OK)
        err = set_link(w, "last", name);
    if (err == VD_OK && w->best)
        err = set_link(w, "best", name);
    if (err == VD_OK) {
        prune(w, name);
        log_info("saved %s", path);
    }
    free(name);
    free(path);
    return err;
}

static void *write_beside(void *ctx)
{
    struct checkpoint_writer *w = ctx;
    w->err = publish(w);
    checkpoint_clear(&w->snapshot);
    return NULL;
}

enum vd_err checkpoint_writer_new(struct checkpoint_writer **out,
                                  const char *folder, const struct graph *g,
                                  int keep)
{
    VD_TRY(file_make_folder(folder));
    struct checkpoint_writer *w = mem_new(1, sizeof *w);
    w->folder = mem_copy_text(folder);
    w->graph = g;
    w->keep = (size_t)keep;
    remove_left_overs(w);
    *out = w;
    return VD_OK;
}

enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c, bool best)
{
    VD_TRY(checkpoint_writer_wait(w));
    w->snapshot = *c;
    *c = (struct checkpoint){0};
    w->best = best;
    int cause = pthread_create(&w->thread, NULL, write_beside, w);
    if (cause) {
        checkpoint_clear(&w->snapshot);
        return memory_no_thread("writing checkpoints", cause);
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
