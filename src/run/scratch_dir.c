/*
 * A scratch folder that is removed however its process ends (see
 * scratch_dir.h). Order: remove scratch folders of dead processes, start the
 * cleaning shell, create the folder. The shell reads from a pipe whose write
 * end only this process holds (close-on-exec), so end of file means that this
 * process closed the scratch folder or ended.
 */
#include "run/scratch_dir.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * $1: the folder; $2: its highest parent that this process created, or "". On
 * a network file system a folder is not empty before its last file is closed,
 * hence the second attempt after a second.
 */
static const char cleaner_script[] =
    "read -r nothing\n"
    "rm -rf -- \"$1\" || { sleep 1; rm -rf -- \"$1\"; } || exit 1\n"
    "up=$1\n"
    "while [ \"$2\" ] && [ \"$up\" != \"$2\" ]; do\n"
    "    up=${up%/*}\n"
    /* not empty: in use, or another scratch folder being removed */
    "    rmdir -- \"$up\" 2>/dev/null || { sleep 1; rmdir -- \"$up\"; } "
    "2>/dev/null || break\n"
    "done\n";

/* Starts the script, which waits for the end of `input`. A session of its own
 * protects it from signals to this process group. */
static enum vd_err spawn_cleaner(pid_t *pid, const char *folder,
                                 const char *made, int input)
{
    char *const argv[] = {(char[]){"sh"},
                          (char[]){"-c"},
                          xstrdup(cleaner_script),
                          (char[]){"vocdist"},
                          xstrdup(folder),
                          xstrdup(made),
                          NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    int rc = posix_spawn(pid, "/bin/sh", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    free(argv[2]);
    free(argv[4]);
    free(argv[5]);
    return rc == 0 ? VD_OK : VD_FAIL(VD_SYSTEM, "/bin/sh: %s", strerror(rc));
}

static void wait_for_cleaner(pid_t pid, const char *folder)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (status != 0)
        log_warn("%s: this scratch folder cannot be removed\n"
                 "remove it by hand",
                 folder);
}

/* ---- folders of killed sessions ---- */

static void remove_stale_folder(const char *dir, const char *name)
{
    pid_t pid;
    char *folder = xasprintf("%s/%s", dir, name);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    log_info("removing %s, left by a killed scratch session", folder);
    if (spawn_cleaner(&pid, folder, "", nothing) == VD_OK)
        wait_for_cleaner(pid, folder);
    if (nothing >= 0)
        close(nothing);
    free(folder);
}

/* Process ids are unique within a PID namespace; containers may share a host
 * name. */
static unsigned long process_namespace(void)
{
    struct stat info;
    return stat("/proc/self/ns/pid", &info) ? 0 : (unsigned long)info.st_ino;
}

/* Removes folders with the prefix whose process is dead. */
static void remove_stale_folders(const char *dir, const char *prefix)
{
    struct file_list list;
    if (!file_is_folder(dir) || file_list_read(&list, dir) != VD_OK)
        return;
    size_t n = strlen(prefix);
    for (size_t i = 0; i < list.n; i++) {
        char *end = NULL;
        if (strncmp(list.names[i], prefix, n))
            continue;
        long pid = strtol(list.names[i] + n, &end, 10);
        bool is_process = pid > 0 && *end == '\0';
        if (is_process && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
            remove_stale_folder(dir, list.names[i]);
    }
    file_list_clear(&list);
}

/* ---- opening and closing ---- */

/* The highest missing folder of a path, "": none is missing. The caller frees
 * it. */
static char *highest_missing(const char *folder)
{
    char *missing = xstrdup(""), *path = xstrdup(folder);
    /* "." is its own parent, and may not be searchable */
    while (!file_exists(path) && strcmp(path, missing)) {
        free(missing);
        missing = path;
        path = file_dirname(path);
    }
    free(path);
    return missing;
}

/* Starts the shell before the folder exists. */
static enum vd_err start_cleaner(struct scratch_dir *s, const char *made)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return VD_FAIL(VD_SYSTEM, "cannot create a pipe: %s", strerror(errno));
    enum vd_err err = spawn_cleaner(&s->cleaner, s->folder, made, ends[0]);
    close(ends[0]);
    s->alive_pipe = ends[1];
    return err;
}

enum vd_err scratch_dir_open(struct scratch_dir *s, const char *dir,
                             const char *name)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    char *prefix =
        xasprintf(".%s.trial-%s-%lu-", name, host, process_namespace());
    char *made = highest_missing(dir);
    remove_stale_folders(dir, prefix);
    *s = (struct scratch_dir){
        .folder = xasprintf("%s/%s%ld", dir, prefix, (long)getpid()),
        .alive_pipe = -1};
    enum vd_err err = start_cleaner(s, made);
    if (err == VD_OK)
        err = file_make_folder(s->folder);
    free(prefix);
    free(made);
    return err;
}

void scratch_dir_close(struct scratch_dir *s)
{
    if (!s->folder)
        return;
    if (s->alive_pipe >= 0)
        close(s->alive_pipe);
    if (s->cleaner > 0)
        wait_for_cleaner(s->cleaner, s->folder);
    free(s->folder);
    *s = (struct scratch_dir){0};
}
