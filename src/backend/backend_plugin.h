/*
 * Finding and loading backends in shared libraries (plugin.h). Local; main
 * thread.
 *
 * A plugin NAME is the first file libvocdist_backend_NAME.so in: `dir` (option
 * backend_dir, VOCDIST_BACKEND_DIR; "" or NULL: none), the program's folder,
 * ../lib/vocdist from there. A loaded plugin is never unloaded.
 */
#ifndef VOCDIST_BACKEND_BACKEND_PLUGIN_H
#define VOCDIST_BACKEND_BACKEND_PLUGIN_H

#include "backend/backend.h"

/* A plugin's file, and why it cannot be used. Release with
 * backend_plugin_clear(). */
struct backend_plugin_file {
    char *path;                    /* owned; NULL: no file was found */
    char *searched;                /* owned: the folders, comma-separated */
    char *reason;                  /* owned; NULL: loaded */
    const struct backend_ops *ops; /* NULL unless loaded */
    const struct collective_ops *collective; /* NULL: none */
};

/* Finds and loads plugin `name`. Logs nothing. */
struct backend_plugin_file backend_plugin_load(const char *name,
                                               const char *dir);
void backend_plugin_clear(struct backend_plugin_file *f);

#endif
