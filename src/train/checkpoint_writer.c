/* The thread that writes checkpoints beside training. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/memory.h"
#include "store/atomic.h"
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
    bool running;
    pthread_t thread;
    enum vd_err err;
};

static void remove_file(const struct checkpoint_writer *w, const char *name)
{
    char *path = mem_format("%s/%s", w->folder, name);
    if (unlink(path) < 0)
        log_warn("%s: cannot be removed: %s", path, strerror(errno));
    free(path);
}

/* What folder/name points to; "" where there is no such link. */
static void read_link(const struct checkpoint_writer *w, const char *name,
                      char target[PATH_MAX])
{
    char *link = mem_format("%s/%s", w->folder, name);
    ssize_t n = readlink(link, target, PATH_MAX - 1);
    target[n > 0 ? n : 0] = '\0';
    free(link);
}

/*
 * Removes all but the newest `keep` up to the last one and the best one. What
 * is newer is damaged (a resumed run goes on from an older one then): it must
 * not push whole ones out, and is overwritten in time.
 */
static void prune(const struct checkpoint_writer *w)
{
    struct file_list list;
    char last[PATH_MAX], best[PATH_MAX];
    read_link(w, "last", last);
    read_link(w, "best", best);
    if (file_list_read(&list, w->folder) != VD_OK)
        return;
    size_t seen = 0;
    for (size_t i = list.n; i > 0; i--) {
        const char *name = list.names[i - 1];
        if (!checkpoint_is_name(name) || strcmp(name, last) > 0 ||
            seen++ < w->keep || !strcmp(name, best))
            continue;
        remove_file(w, name);
    }
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
        err = checkpoint_link(&w->snapshot, path);
    if (err == VD_OK) {
        log_info("saved %s", path);
        prune(w);
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
    atomic_remove_left_overs(folder);
    prune(w); /* a killed process may not have come to it */
    *out = w;
    return VD_OK;
}

enum vd_err checkpoint_writer_start(struct checkpoint_writer *w,
                                    struct checkpoint *c)
{
    VD_TRY(checkpoint_writer_wait(w));
    w->snapshot = *c;
    *c = (struct checkpoint){0};
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
