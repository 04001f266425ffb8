/*
 * Paths, lock and append files of a run. Opening checks that no symbolic link
 * or special file is in place of an output, creates the folder, takes the lock
 * and adds log.txt to the log's outputs. Before each checkpoint, and before a
 * row (at most once per OWNER_CHECK_S), it is checked that this process still
 * owns the run.
 */
#include "run/run_folder.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWNER_CHECK_S 1.0 /* between two checks before rows */

char *run_folder_path(const struct run_folder *f, const char *name)
{
    return xasprintf("%s/%s", f->path, name);
}

/* ---- the owner ---- */

enum vd_err run_folder_check_owner(void *folder)
{
    struct run_folder *f = folder;
    return run_lock_check(&f->lock);
}

/* Before a row is appended; main thread. */
static enum vd_err check_owner_for_row(void *folder)
{
    struct run_folder *f = folder;
    if (clock_now() - f->owner_checked < OWNER_CHECK_S)
        return VD_OK;
    VD_TRY(run_lock_check(&f->lock));
    f->owner_checked = clock_now();
    return VD_OK;
}

/* ---- opening ---- */

/* In place of a file that the run writes there may only be a regular file. */
static enum vd_err check_outputs(const char *folder)
{
    static const char *const names[] = {
        RUN_LOCK_NAME, "log.txt",  "metrics.csv", "steps.jsonl",
        "config.yaml", "run.json", RUN_PLAN_NAME};
    enum vd_err err = VD_OK;
    for (size_t i = 0; err == VD_OK && i < sizeof names / sizeof *names; i++) {
        char *path = xasprintf("%s/%s", folder, names[i]);
        err = file_check_output(path);
        free(path);
    }
    return err;
}

/* Needed for scratch outputs, since nothing is written to this folder. */
static enum vd_err check_writable(const char *folder)
{
    if (file_exists(folder) && !file_is_folder(folder))
        errno = ENOTDIR;
    else if (!file_exists(folder) || access(folder, W_OK | X_OK) == 0)
        return VD_OK;
    return VD_FAIL(VD_CREATE, "%s: %s\ngive --train.name another name", folder,
                   strerror(errno));
}

static void set_own_paths(struct run_folder *f, const char *dir,
                          const char *name)
{
    *f = RUN_FOLDER_CLOSED;
    f->own_folder = xasprintf("%s/%s", dir, name);
    f->own_checkpoints = xasprintf("%s/%s/checkpoints", dir, name);
}

static enum vd_err create_outputs(struct run_folder *f, const char *path)
{
    f->path = xstrdup(path);
    f->checkpoints = run_folder_path(f, "checkpoints");
    VD_TRY(file_make_folder(f->checkpoints));
    VD_TRY(run_lock_acquire(&f->lock, f->path));
    atomic_remove_stale(f->path);
    char *log = run_folder_path(f, "log.txt");
    int fd = -1;
    enum vd_err err = file_open_output(log, O_WRONLY | O_APPEND, &fd);
    free(log);
    log_set_file(fd);
    return err;
}

enum vd_err run_folder_open(struct run_folder *f, const char *dir,
                            const char *name)
{
    set_own_paths(f, dir, name);
    VD_TRY(check_outputs(f->own_folder));
    return create_outputs(f, f->own_folder);
}

enum vd_err run_folder_open_scratch(struct run_folder *f, const char *dir,
                                    const char *name)
{
    set_own_paths(f, dir, name);
    f->is_scratch = true;
    VD_TRY(check_writable(f->own_folder));
    VD_TRY(check_writable(f->own_checkpoints));
    VD_TRY(check_outputs(f->own_folder));
    VD_TRY(scratch_dir_open(&f->scratch, dir, name));
    return create_outputs(f, f->scratch.folder);
}

/* Scratch outputs start empty, but the length of the run's own file is checked
 * as a resumed run would do. */
static enum vd_err open_append_file(struct run_folder *f,
                                    struct append_file *file, const char *name,
                                    const char *header, int64_t length)
{
    char *path = run_folder_path(f, name);
    char *own = xasprintf("%s/%s", f->own_folder, name);
    enum vd_err err = append_file_check(own, length);
    if (err == VD_OK)
        err = append_file_open(file, path, header, f->is_scratch ? 0 : length);
    if (err == VD_OK)
        append_file_set_guard(file, check_owner_for_row, f);
    free(path);
    free(own);
    return err;
}

enum vd_err run_folder_open_append_files(struct run_folder *f,
                                         const struct train_state *state)
{
    VD_TRY(open_append_file(f, &f->metrics, "metrics.csv", RUN_METRICS_HEADER,
                            state->metrics_bytes));
    return open_append_file(f, &f->steps, "steps.jsonl", "",
                            state->steps_bytes);
}

void run_folder_close(struct run_folder *f)
{
    log_set_file(-1);
    append_file_close(&f->metrics);
    append_file_close(&f->steps);
    run_lock_release(&f->lock);
    scratch_dir_close(&f->scratch);
    free(f->path);
    free(f->checkpoints);
    free(f->own_folder);
    free(f->own_checkpoints);
    *f = RUN_FOLDER_CLOSED;
}
