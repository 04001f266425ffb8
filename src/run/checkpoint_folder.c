/*
 * The folder of a run's checkpoints: which files belong to the run, which is
 * the newest, where the links `last` and `best` point.
 *
 * A copy of a run's folder may lack the links (object stores, FAT, scp) or
 * have files in their place (cp -L). The links are only a cache: the file with
 * the highest step in its name is the last one, and a checkpoint is marked if
 * it was the best at its time, so the newest marked one is the best.
 */
#include "run/checkpoint_folder.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "store/atomic.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WHY 1024

/* ---- names ---- */

char *checkpoint_name(uint64_t step)
{
    return xasprintf("step-%08llu.h5", (unsigned long long)step);
}

char *checkpoint_path(const char *folder, uint64_t step)
{
    return xasprintf("%s/step-%08llu.h5", folder, (unsigned long long)step);
}

/* Exactly as checkpoint_name() gives it: no sign, no blank, no other zeros. */
static bool parse_name(const char *name, uint64_t *step)
{
    static const char prefix[] = "step-";
    size_t n = sizeof prefix - 1;
    if (strncmp(name, prefix, n) || name[n] < '0' || name[n] > '9')
        return false;
    errno = 0;
    *step = strtoull(name + n, NULL, 10);
    char *own = checkpoint_name(*step);
    bool same = errno == 0 && !strcmp(name, own);
    free(own);
    return same;
}

bool checkpoint_is_name(const char *name)
{
    uint64_t step;
    return parse_name(name, &step);
}

static int compare_steps(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

enum vd_err checkpoint_list_read(struct checkpoint_list *list,
                                 const char *folder)
{
    struct file_list files;
    uint64_t step;
    VD_TRY(file_list_read(&files, folder));
    *list = (struct checkpoint_list){
        .steps = xcalloc(files.n + 1, sizeof *list->steps)};
    for (size_t i = 0; i < files.n; i++)
        if (parse_name(files.names[i], &step))
            list->steps[list->n++] = step;
    qsort(list->steps, list->n, sizeof *list->steps, compare_steps);
    file_list_clear(&files);
    return VD_OK;
}

/* ---- a path of the user ---- */

/* The newest by name; the caller frees it; NULL: none. */
static char *newest_path(const char *folder)
{
    struct checkpoint_list list = {0};
    struct log_sink before =
        log_swap_sink((struct log_sink){log_discard, NULL});
    enum vd_err err = checkpoint_list_read(&list, folder);
    log_swap_sink(before);
    char *path = err == VD_OK && list.n
                     ? checkpoint_path(folder, list.steps[list.n - 1])
                     : NULL;
    free(list.steps);
    return path;
}

/* The file that checkpoint_open() reads for `path`; the caller frees it. */
static char *resolve_folder(const char *path)
{
    if (!file_is_folder(path))
        return xstrdup(path);
    char *inner = xasprintf("%s/checkpoints", path);
    const char *folder = file_is_folder(inner) ? inner : path;
    char *found = xasprintf("%s/last", folder);
    char *newest = file_exists(found) ? NULL : newest_path(folder);
    free(inner);
    if (!newest)
        return found;
    free(found);
    return newest;
}

/* Distinguishes a missing file from a folder that cannot be searched. */
static enum vd_err check_checkpoint_exists(const char *file, const char *given)
{
    if (access(file, F_OK) == 0)
        return VD_OK;
    if (errno != ENOENT)
        return VD_FAIL(VD_NOINPUT, "%s: %s\ncheck the path and its permissions",
                       file, strerror(errno));
    return VD_FAIL(VD_NOINPUT,
                   "%s: no checkpoint here\n"
                   "give a run's folder (runs/NAME) or one of its "
                   "checkpoints/step-*.h5",
                   given);
}

enum vd_err checkpoint_open(struct checkpoint *c, const char *path, bool values)
{
    char *file = resolve_folder(path);
    enum vd_err err = check_checkpoint_exists(file, path);
    if (err == VD_OK)
        err = values ? checkpoint_read(c, file) : checkpoint_read_head(c, file);
    free(file);
    return err;
}

/* ---- the newest intact one ---- */

static void keep_first_error(void *ctx, enum log_level level,
                             const char *message)
{
    char *why = ctx;
    if (level == LOG_LEVEL_ERROR && !*why)
        snprintf(why, MAX_WHY, "%s", message);
}

static enum vd_err read_step(struct checkpoint *c, const char *path,
                             uint64_t step)
{
    if (file_is_folder(path))
        return VD_FAIL(VD_DATA, "%s: is a folder", path);
    VD_TRY(checkpoint_read(c, path));
    if (c->step == step)
        return VD_OK;
    enum vd_err err = VD_FAIL(VD_DATA, "%s: contains step %llu: a renamed copy",
                              path, (unsigned long long)c->step);
    checkpoint_clear(c);
    return err;
}

/* Damage is a warning and sets *path to NULL. Other errors (no memory, no
 * permission) are returned: they do not depend on the file, so trying an older
 * one would not help. */
static enum vd_err try_read(struct checkpoint *c, char **path, uint64_t step)
{
    char why[MAX_WHY] = "";
    struct log_sink before =
        log_swap_sink((struct log_sink){keep_first_error, why});
    enum vd_err err = read_step(c, *path, step);
    log_swap_sink(before);
    if (err == VD_OK)
        return VD_OK;
    if (err != VD_DATA && file_exists(*path))
        return VD_FAIL(err, "%s", why);
    log_warn("%.*s\ntrying the checkpoint before this one",
             (int)strcspn(why, "\n"), why);
    free(*path);
    *path = NULL;
    return VD_OK;
}

enum vd_err checkpoint_read_newest(struct checkpoint *c, const char *folder,
                                   char **path)
{
    struct checkpoint_list list;
    *c = (struct checkpoint){0};
    *path = NULL;
    if (!file_exists(folder))
        return VD_OK;
    VD_TRY(checkpoint_list_read(&list, folder));
    enum vd_err err = VD_OK;
    for (size_t i = list.n; i > 0 && err == VD_OK && !*path; i--) {
        *path = checkpoint_path(folder, list.steps[i - 1]);
        err = try_read(c, path, list.steps[i - 1]);
    }
    free(list.steps);
    if (err == VD_OK && list.n && !*path)
        err = VD_FAIL(VD_DATA,
                      "%s: no intact checkpoint here\n"
                      "see the warnings above for the reasons; to start a new "
                      "run, give --train.name another name",
                      folder);
    return err;
}

/* ---- links ---- */

enum vd_err checkpoint_link(const struct checkpoint *c, const char *path)
{
    char *folder = file_dirname(path);
    char *last = xasprintf("%s/last", folder);
    char *best = xasprintf("%s/best", folder);
    enum vd_err err = atomic_symlink(last, file_basename(path));
    if (err == VD_OK && c->best)
        err = atomic_symlink(best, file_basename(path));
    free(folder);
    free(last);
    free(best);
    return err;
}

/* Whether this step's file is intact and marked as the best; logs nothing. */
static bool is_intact_best(const char *folder, uint64_t step)
{
    struct checkpoint c = {0};
    char *path = checkpoint_path(folder, step);
    struct log_sink before =
        log_swap_sink((struct log_sink){log_discard, NULL});
    bool best = checkpoint_read_head(&c, path) == VD_OK && c.best;
    checkpoint_clear(&c);
    best = best && read_step(&c, path, step) == VD_OK;
    log_swap_sink(before);
    checkpoint_clear(&c);
    free(path);
    return best;
}

/* Renames a checkpoint in place of the link to its own name, if no file has it.
 */
static void rename_copy(const char *folder, const char *best)
{
    struct checkpoint c = {0};
    struct log_sink before =
        log_swap_sink((struct log_sink){log_discard, NULL});
    bool intact = checkpoint_read(&c, best) == VD_OK;
    log_swap_sink(before);
    char *path = intact ? checkpoint_path(folder, c.step) : NULL;
    checkpoint_clear(&c);
    if (intact && !file_exists(path) && rename(best, path) == 0)
        log_info("%s: a regular file, renamed to %s", best,
                 file_basename(path));
    free(path);
}

static enum vd_err link_newest_best(const char *folder, const char *link,
                                    uint64_t last)
{
    struct checkpoint_list list;
    VD_TRY(checkpoint_list_read(&list, folder));
    size_t i = list.n;
    while (i > 0 && (list.steps[i - 1] > last ||
                     !is_intact_best(folder, list.steps[i - 1])))
        i--;
    char *name = i > 0 ? checkpoint_name(list.steps[i - 1]) : NULL;
    free(list.steps);
    enum vd_err err = name ? atomic_symlink(link, name) : VD_OK;
    if (err == VD_OK && name)
        log_info("%s: was not a link to a checkpoint, now links to %s", link,
                 name);
    free(name);
    return err;
}

enum vd_err checkpoint_restore_best(const char *folder, uint64_t last)
{
    struct stat info;
    enum vd_err err = VD_OK;
    char *link = xasprintf("%s/best", folder);
    bool any = lstat(link, &info) == 0;
    if (any && S_ISREG(info.st_mode))
        rename_copy(folder, link);
    if (!any || S_ISREG(info.st_mode) || !file_exists(link))
        err = link_newest_best(folder, link, last);
    free(link);
    return err;
}
