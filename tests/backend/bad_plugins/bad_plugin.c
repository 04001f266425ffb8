/*
 * Plugins that the program must refuse. One of these is defined:
 *
 *     BAD_ABI         ABI number 1000 + that of the program
 *     BAD_COLLECTIVE  another size of the table of collective operations
 *     BAD_LAYOUT      another layout of the shared structs
 *     BAD_NAME        a backend that is not that of its file name
 *     NO_SYMBOL       a library that is no plugin
 *
 * `start` must not be called; it ends the process.
 */
#include "backend/plugin.h"

#include <stdlib.h>

static _Noreturn void start(const struct plugin_host *host)
{
    (void)host;
    abort();
}

static const struct backend_ops ops = {.name = "other"};

#ifdef NO_SYMBOL
#define SYMBOL not_a_plugin
#else
#define SYMBOL vocdist_backend_plugin
#endif
#ifdef BAD_ABI
#define ABI (1000 + BACKEND_ABI)
#else
#define ABI BACKEND_ABI
#endif
#ifdef BAD_LAYOUT
#define LAYOUT                   \
    {                            \
        sizeof(struct graph) + 8 \
    }
#else
#define LAYOUT PLUGIN_LAYOUT
#endif
#ifdef BAD_COLLECTIVE
#define COLLECTIVE_BYTES (sizeof(struct collective_ops) + 8)
#else
#define COLLECTIVE_BYTES sizeof(struct collective_ops)
#endif

__attribute__((
    visibility("default"))) extern const struct backend_plugin SYMBOL;
const struct backend_plugin SYMBOL = {.abi = ABI,
                                      .ops_bytes = sizeof(struct backend_ops),
                                      .collective_bytes = COLLECTIVE_BYTES,
                                      .layout = LAYOUT,
                                      .ops = &ops,
                                      .start = start};
