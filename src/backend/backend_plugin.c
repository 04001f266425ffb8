/*
 * Loading a plugin: find the file, dlopen() it with RTLD_LOCAL, look up its one
 * symbol, compare ABI, sizes of the operations and layout, hand over the host
 * table, and check that it is the backend of its file name. Each failure is a
 * reason in one line; nothing of a plugin that fails is called.
 */
#include "backend/backend_plugin.h"

#include "backend/plugin.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the host table ---- */

static enum vd_err host_raise(enum vd_err err, const char *file, int line,
                              const char *message)
{
    return err_raise(err, file, line, "%s", message);
}

static void host_warn_global(const char *message)
{
    log_warn_global("%s", message);
}

static const struct plugin_host host = {
    .raise = host_raise,
    .bug = err_bug,
    .log_write = log_write,
    .log_warn_global = host_warn_global,
    .memory_raise_oom = memory_raise_oom,
    .memory_raise_no_thread = memory_raise_no_thread,
    .memory_exit_oom = memory_exit_oom,
    .memory_check_available = memory_check_available,
    .memory_is_low = memory_is_low,
    .memory_thread_stacks = memory_thread_stacks,
};

/* ---- search ---- */

/* The folder of the running program; owned. */
static char *program_folder(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return file_dirname(path);
}

static void search_folder(struct backend_plugin_file *f, struct text *searched,
                          const char *folder, const char *name)
{
    text_add(searched, "%s%s", searched->length ? ", " : "", folder);
    char *path = xasprintf("%s/libvocdist_backend_%s.so", folder, name);
    if (!f->path && file_exists(path))
        f->path = path;
    else
        free(path);
}

static void find_file(struct backend_plugin_file *f, const char *name,
                      const char *dir)
{
    struct text searched = {0};
    char *program = program_folder();
    char *library = xasprintf("%s/../lib/vocdist", program);
    if (dir && *dir)
        search_folder(f, &searched, dir, name);
    search_folder(f, &searched, program, name);
    search_folder(f, &searched, library, name);
    f->searched = searched.bytes;
    free(program);
    free(library);
}

/* ---- load ---- */

/* NULL: compatible; else the reason, owned. */
static char *check_plugin(const struct backend_plugin *p, const char *name)
{
    static const uint32_t layout[PLUGIN_LAYOUT_N] = PLUGIN_LAYOUT;
    if (p->abi != BACKEND_ABI)
        return xasprintf("built for plugin ABI %u, this program has %u", p->abi,
                         BACKEND_ABI);
    if (p->ops_bytes != sizeof(struct backend_ops) ||
        p->collective_bytes != sizeof(struct collective_ops) ||
        memcmp(p->layout, layout, sizeof layout) != 0)
        return xstrdup("built with other headers than this program (the layout "
                       "of shared structs differs)");
    if (strcmp(p->ops->name, name) != 0)
        return xasprintf("contains backend %s, not %s", p->ops->name, name);
    return NULL;
}

/* dlerror() repeats the path in front of the reason. */
static char *dl_reason(const char *path)
{
    const char *text = dlerror();
    size_t n = strlen(path);
    if (!text)
        return xstrdup("cannot be loaded");
    if (!strncmp(text, path, n) && !strncmp(text + n, ": ", 2))
        text += n + 2;
    return xasprintf("cannot be loaded: %s", text);
}

static void load_file(struct backend_plugin_file *f, const char *name)
{
    void *library = dlopen(f->path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        f->reason = dl_reason(f->path);
        return;
    }
    const struct backend_plugin *p = dlsym(library, PLUGIN_SYMBOL);
    f->reason =
        p ? check_plugin(p, name)
          : xstrdup("not a plugin of vocdist: no symbol " PLUGIN_SYMBOL);
    if (f->reason) {
        dlclose(library);
        return;
    }
    p->start(&host);
    f->ops = p->ops;
    f->collective = p->collective;
}

struct backend_plugin_file backend_plugin_load(const char *name,
                                               const char *dir)
{
    struct backend_plugin_file f = {0};
    find_file(&f, name, dir);
    if (f.path)
        load_file(&f, name);
    return f;
}

void backend_plugin_clear(struct backend_plugin_file *f)
{
    free(f->path);
    free(f->searched);
    free(f->reason);
    *f = (struct backend_plugin_file){0};
}
