#include "train/scratch.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRIES 100 /* a thread of ours may still be writing into it */

/* ---- names ---- */

/* ".NAME.trial-HOST-"; the process follows. */
static char *prefix_of(const char *name)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    return mem_format(".%s.trial-%s-", name, host);
}

/* The highest folder of a path that is not there; owned, NULL: all are. */
static char *highest_missing(const char *folder)
{
    char *missing = NULL, *path = mem_copy_text(folder);
    while (!file_exists(path)) {
        free(missing);
        missing = path;
        path = file_folder(path);
    }
    free(path);
    return missing;
}

/* ---- removing ---- */

static void remove_left_over(const char *dir, const char *name)
{
    char *path = mem_format("%s/%s", dir, name);
    if (file_remove_tree(path))
        log_info("removed %s, of a trial that was killed", path);
    else
        log_warn("%s: of a trial that was killed; cannot be removed: %s", path,
                 strerror(errno));
    free(path);
}

/* Folders of that name whose process is dead. */
static void remove_left_overs(const char *dir, const char *prefix)
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
            remove_left_over(dir, list.names[i]);
    }
    file_list_clear(&list);
}

/* The folders above it that we made, if nobody else is in them. */
static void remove_made(const struct scratch *s)
{
    char *path = mem_copy_text(s->dir);
    for (bool done = !s->made; !done;) {
        done = rmdir(path) < 0 || !strcmp(path, s->made);
        char *above = file_folder(path);
        free(path);
        path = above;
    }
    free(path);
}

static void remove_all(const struct scratch *s)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    bool gone = file_remove_tree(s->folder);
    for (int k = 0; !gone && k < TRIES; k++) {
        nanosleep(&moment, NULL);
        gone = file_remove_tree(s->folder);
    }
    if (gone)
        remove_made(s);
    else
        log_warn("%s: of this trial; cannot be removed: %s", s->folder,
                 strerror(errno));
}

/* ---- TERM ---- */

/* For a signal handler, which can reach nothing but a static. */
static volatile sig_atomic_t wake_fd = -1;

static void on_term(int signal_number)
{
    char byte = 0;
    if (write(wake_fd, &byte, 1) == 1)
        return;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void *remove_on_term(void *ctx)
{
    const struct scratch *s = ctx;
    char byte;
    if (read(s->wake[0], &byte, 1) != 1)
        return NULL; /* it is closing */
    remove_all(s);
    signal(SIGTERM, SIG_DFL);
    kill(getpid(), SIGTERM);
    return NULL;
}

/* Whoever catches TERM already (an orderly stop) comes to scratch_close(). */
static enum vd_err watch(struct scratch *s)
{
    struct sigaction now,
        action = {.sa_handler = on_term, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, NULL, &now);
    if (now.sa_handler != SIG_DFL)
        return VD_OK;
    if (pipe2(s->wake, O_CLOEXEC) < 0)
        return VD_FAIL(VD_SYSTEM, "no pipe: %s", strerror(errno));
    if (pthread_create(&s->thread, NULL, remove_on_term, s)) {
        close(s->wake[0]);
        close(s->wake[1]);
        return VD_FAIL(VD_SYSTEM, "no thread for a trial's folder");
    }
    s->watching = true;
    wake_fd = s->wake[1];
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    return VD_OK;
}

static void end_watch(struct scratch *s)
{
    if (!s->watching)
        return;
    signal(SIGTERM, SIG_DFL);
    wake_fd = -1;
    close(s->wake[1]);
    pthread_join(s->thread, NULL);
    close(s->wake[0]);
    s->watching = false;
}

/* ---- */

enum vd_err scratch_open(struct scratch *s, const char *dir, const char *name)
{
    char *prefix = prefix_of(name);
    remove_left_overs(dir, prefix);
    *s = (struct scratch){
        .folder = mem_format("%s/%s%ld", dir, prefix, (long)getpid()),
        .dir = mem_copy_text(dir),
        .made = highest_missing(dir)};
    free(prefix);
    VD_TRY(watch(s));
    return file_make_folder(s->folder);
}

void scratch_close(struct scratch *s)
{
    if (!s->folder)
        return;
    remove_all(s);
    end_watch(s);
    free(s->folder);
    free(s->dir);
    free(s->made);
    *s = (struct scratch){0};
}
