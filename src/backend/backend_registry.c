/*
 * The backend registry: which backends exist, and how one is opened by name.
 * It includes every implementation, so it is not part of backend.c, which the
 * implementations use.
 *
 * built_backends[] lists what CMake built (VOCDIST_HAVE_CPU,
 * VOCDIST_HAVE_DEFERRED), the fastest one first. backend_open() looks a name
 * up there; "auto" takes the first entry whose unavailable() returns NULL. ref
 * is always built and always available, so that search ends.
 */
#include "backend/backend.h"

#include "backend/ref/ref.h"
#ifdef VOCDIST_HAVE_CPU
#include "backend/cpu/cpu.h"
#endif
#ifdef VOCDIST_HAVE_DEFERRED
#include "backend/deferred/deferred.h"
#endif
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* Fastest first: "auto" takes the first that is available. */
static const struct backend_ops *const built_backends[] = {
#ifdef VOCDIST_HAVE_CPU
    &backend_cpu_ops,
#endif
    &backend_ref_ops,
#ifdef VOCDIST_HAVE_DEFERRED
    &backend_deferred_ops,
    &backend_deferred_check_ops,
#endif
    NULL,
};

const struct backend_ops *const *backend_list(void)
{
    return built_backends;
}

static enum vd_err fail_unknown_backend(const char *name)
{
    if (strcmp(name, "cuda") == 0)
        return VD_FAIL(VD_UNSUPPORTED,
                       "backend cuda: this version has no CUDA backend\n"
                       "use --backend cpu");
    if (strcmp(name, "cpu") == 0)
        return VD_FAIL(VD_UNSUPPORTED,
                       "backend cpu: was not built (it needs oneDNN)\n"
                       "install libdnnl-dev and build with "
                       "-DVOCDIST_ONEDNN=ON, or use --backend ref (slow)");
    return VD_FAIL(VD_CONFIG,
                   "backend %s: no such backend\n"
                   "use one of auto, cpu, cuda, ref",
                   name);
}

static enum vd_err find_backend(const char *name,
                                const struct backend_ops **out)
{
    for (int i = 0; built_backends[i]; i++) {
        if (strcmp(built_backends[i]->name, name) != 0)
            continue;
        const char *reason = built_backends[i]->unavailable();
        if (reason)
            return VD_FAIL(VD_UNSUPPORTED,
                           "backend %s: %s\n"
                           "use another machine, or --backend ref (slow)",
                           name, reason);
        *out = built_backends[i];
        return VD_OK;
    }
    return fail_unknown_backend(name);
}

/* Ends at ref, which is always built and always available. */
static const struct backend_ops *best_available_backend(void)
{
    int i = 0;
    while (built_backends[i]->unavailable())
        i++;
    return built_backends[i];
}

static void log_auto_choice(struct backend *b)
{
    if (b->ops != &backend_ref_ops)
        log_info("backend auto: %s (%s)", b->ops->name, b->ops->describe(b));
    else if (built_backends[0] == &backend_ref_ops)
        log_warn_global("backend auto: ref (%s), because this program was "
                        "built without oneDNN\n"
                        "on x86-64, install libdnnl-dev and build again; "
                        "other processors support only ref so far",
                        b->ops->describe(b));
    else
        log_warn_global("backend auto: ref (%s), because %s %s\n"
                        "use another machine: ref takes 20 times as long",
                        b->ops->describe(b), built_backends[0]->name,
                        built_backends[0]->unavailable());
}

enum vd_err backend_open(struct backend *b, const char *name,
                         const struct backend_config *config)
{
#ifdef VOCDIST_HAVE_DEFERRED
    /* Lets a test run a whole program on a backend that no option offers. */
    const char *tested = getenv("TEST_VOCDIST_BACKEND");
    if (tested)
        name = tested;
#endif
    bool is_auto = strcmp(name, "auto") == 0;
    *b = (struct backend){.ops = is_auto ? best_available_backend() : NULL};
    if (!is_auto)
        VD_TRY(find_backend(name, &b->ops));
    VD_ASSERT(b->ops->abi == BACKEND_ABI);
    enum vd_err err = b->ops->open(b, config);
    if (err) {
        b->ops = NULL;
        return err;
    }
    if (is_auto)
        log_auto_choice(b);
    return VD_OK;
}

void backend_close(struct backend *b)
{
    if (b->ops)
        b->ops->close(b);
    *b = (struct backend){.ops = NULL};
}
