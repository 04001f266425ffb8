/*
 * Interface between the program and a backend in a shared library (a plugin).
 *
 * A plugin NAME is the file libvocdist_backend_NAME.so. It exports one symbol,
 * `vocdist_backend_plugin`, a struct backend_plugin; all others are hidden, and
 * it is opened with RTLD_LOCAL. It contains its own copies of the code that it
 * uses; errors, log and memory messages are forwarded to the program through
 * struct plugin_host (plugin_base.c), so there is one log and one set of
 * limits.
 *
 * Program and plugin are compiled apart, so before any call the program
 * compares the ABI number, the sizes of the tables of operations and the layout
 * of the shared structs. `abi` stays the first member of struct backend_plugin.
 */
#ifndef VOCDIST_BACKEND_PLUGIN_H
#define VOCDIST_BACKEND_PLUGIN_H

#include "backend/backend.h"
#include "backend/collective.h"
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define PLUGIN_SYMBOL "vocdist_backend_plugin"

/* What a plugin calls in the program. All functions are those of base/err.h,
 * base/log.h and base/memory.h with the same meaning. */
struct plugin_host {
    enum vd_err (*raise)(enum vd_err err, const char *file, int line,
                         const char *message);
    void (*bug)(const char *file, int line, const char *what)
        __attribute__((noreturn));
    void (*log_write)(enum log_level level, const char *format, va_list args);
    void (*log_warn_global)(const char *message);
    enum vd_err (*memory_raise_oom)(const char *what, size_t bytes);
    enum vd_err (*memory_raise_no_thread)(const char *what, int cause);
    void (*memory_exit_oom)(size_t bytes) __attribute__((noreturn));
    enum vd_err (*memory_check_available)(const char *what, size_t bytes);
    bool (*memory_is_low)(void);
    size_t (*memory_thread_stacks)(int n);
};

/* Sizes of the structs that both sides read or write, and offsets inside the
 * largest. Enums and meanings are not covered: increment BACKEND_ABI with every
 * change of backend.h, collective.h or scaler.h that is released. */
#define PLUGIN_LAYOUT_N 20
#define PLUGIN_LAYOUT                                                         \
    {                                                                         \
        sizeof(struct graph), offsetof(struct graph, loss),                   \
            offsetof(struct graph, norm_momentum), sizeof(struct graph_node), \
            sizeof(struct graph_tensor), sizeof(struct graph_loss),           \
            sizeof(struct batch_item), sizeof(struct batch),                  \
            sizeof(struct result), sizeof(struct net_spec),                   \
            sizeof(struct weights), sizeof(struct backend_config),            \
            sizeof(struct collective_spec), sizeof(struct collective_id),     \
            sizeof(struct update_result), sizeof(struct backend),             \
            sizeof(struct buf), sizeof(struct range),                         \
            sizeof(struct step_scalars), SCALER_N                             \
    }

struct backend_plugin {
    unsigned abi;                            /* BACKEND_ABI */
    unsigned ops_bytes;                      /* sizeof(struct backend_ops) */
    unsigned collective_bytes;               /* sizeof(struct collective_ops) */
    uint32_t layout[PLUGIN_LAYOUT_N];        /* PLUGIN_LAYOUT */
    const struct backend_ops *ops;           /* ops->name is NAME */
    const struct collective_ops *collective; /* NULL: none */
    /* Called once, before any other call. `host` lives as long as the process.
     */
    void (*start)(const struct plugin_host *host);
};

/* Defines the exported symbol of a plugin. `collective_` may be NULL. */
#define VOCDIST_BACKEND_PLUGIN(ops_, collective_)                             \
    __attribute__((visibility("default"))) extern const struct backend_plugin \
        vocdist_backend_plugin;                                               \
    const struct backend_plugin vocdist_backend_plugin = {                    \
        .abi = BACKEND_ABI,                                                   \
        .ops_bytes = sizeof(struct backend_ops),                              \
        .collective_bytes = sizeof(struct collective_ops),                    \
        .layout = PLUGIN_LAYOUT,                                              \
        .ops = (ops_),                                                        \
        .collective = (collective_),                                          \
        .start = plugin_base_start}

/* In plugins only (plugin_base.c): the `start` of a plugin. */
void plugin_base_start(const struct plugin_host *host);

#endif
