/*
 * /proc/self/cgroup has one line for each hierarchy:
 *
 *     0::/user.slice/job_7            version 2, all controllers
 *     4:cpu,cpuacct:/slurm/job_7      version 1, the named controllers
 *
 * The path is relative to the mount point of the hierarchy. In a container it
 * may be the path on the host: then only the mount point exists, and it is the
 * container's own group. Therefore all folders from the path up to the mount
 * point are visited; a missing folder has no files and so no limit.
 */
#include "base/cgroup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE 8192
#define MOUNT    "/sys/fs/cgroup"

void cgroup_read(char *text, size_t capacity, const char *root,
                 const char *path)
{
    char full[2 * CGROUP_MAX_PATH];
    ssize_t n = -1;
    snprintf(full, sizeof full, "%s%s", root, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, text, capacity - 1);
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
}

struct cgroup_walk {
    const char *root;
    cgroup_visit_fn *visit;
    void *ctx;
};

static void visit_ancestors(const struct cgroup_walk *w, const char *mount,
                            const char *path, int version)
{
    char folder[CGROUP_MAX_PATH];
    size_t top = strlen(mount);
    int n = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return;
    for (size_t end = (size_t)n; end > top && folder[end - 1] == '/'; end--)
        folder[end - 1] = '\0'; /* the path may be "/" */
    for (;;) {
        w->visit(w->ctx, w->root, folder, version);
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= top || !slash)
            return;
        *slash = '\0';
    }
}

/* True if the list "a,b,c" of `n` bytes contains `word`. */
static bool list_contains(const char *list, size_t n, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = list; p < list + n; p += strcspn(p, ",:") + 1)
        if (strcspn(p, ",:") == length && !strncmp(p, word, length))
            return true;
    return false;
}

void cgroup_visit(const char *root, const char *controller,
                  cgroup_visit_fn *visit, void *ctx)
{
    const struct cgroup_walk w = {root, visit, ctx};
    char text[MAX_FILE], mount[64], *rest = text, *line;
    snprintf(mount, sizeof mount, MOUNT "/%s", controller);
    cgroup_read(text, sizeof text, root, "/proc/self/cgroup");
    while ((line = strsep(&rest, "\n"))) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        if (path == controllers + 1)
            visit_ancestors(&w, MOUNT, path + 1, 2);
        else if (list_contains(controllers + 1,
                               (size_t)(path - controllers - 1), controller))
            visit_ancestors(&w, mount, path + 1, 1);
    }
}
