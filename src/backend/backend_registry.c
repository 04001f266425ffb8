/*
 * The backend registry: which backends exist, and how one is opened by name.
 * It includes every implementation, so it is not part of backend.c, which the
 * implementations use.
 *
 * built_backends[] lists what CMake built (VOCDIST_HAVE_CPU), the fastest one
 * first. A name that is not in it is looked for as a plugin
 * (backend_plugin.h). "auto" takes the plugin PREFERRED_PLUGIN if its file
 * exists, loads and can run here, else the first entry whose unavailable()
 * returns NULL. ref is always built and always available, so that search ends.
 */
#include "backend/backend.h"

#include "backend/ref/ref.h"
#ifdef VOCDIST_HAVE_CPU
#include "backend/cpu/cpu.h"
#endif
#include "backend/backend_plugin.h"
#include "base/log.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define PREFERRED_PLUGIN "cuda"

/* Fastest first: "auto" takes the first that is available. */
static const struct backend_ops *const built_backends[] = {
#ifdef VOCDIST_HAVE_CPU
    &backend_cpu_ops,
#endif
    &backend_ref_ops,
    NULL,
};

const struct backend_ops *const *backend_list(void)
{
    return built_backends;
}

static bool is_plugin_name(const char *name)
{
    return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") ==
                        strlen(name);
}

static enum vd_err fail_no_backend(const char *name, const char *searched)
{
    if (strcmp(name, "cpu") == 0)
        return VD_FAIL(VD_UNSUPPORTED,
                       "backend cpu: was not built (it needs oneDNN)\n"
                       "install libdnnl-dev and build with "
                       "-DVOCDIST_ONEDNN=ON, or use --backend ref (slow)");
    if (strcmp(name, PREFERRED_PLUGIN) == 0)
        return VD_FAIL(VD_UNSUPPORTED,
                       "backend %s: no libvocdist_backend_%s.so in %s\n"
                       "use --backend cpu, or give its folder with "
                       "--backend_dir",
                       name, name, searched);
    return VD_FAIL(VD_CONFIG,
                   "backend %s: no such backend\n"
                   "use one of auto, cpu, cuda, ref",
                   name);
}

static enum vd_err find_plugin(const char *name, const char *dir,
                               struct backend *out)
{
    if (!is_plugin_name(name))
        return fail_no_backend(name, "");
    struct backend_plugin_file f = backend_plugin_load(name, dir);
    enum vd_err err = VD_OK;
    if (f.reason)
        err = VD_FAIL(VD_UNSUPPORTED,
                      "backend %s: %s: %s\n"
                      "use --backend cpu, or install the plugin of this "
                      "version of the program",
                      name, f.path, f.reason);
    else if (!f.ops)
        err = fail_no_backend(name, f.searched);
    *out = (struct backend){.ops = f.ops, .collective = f.collective};
    backend_plugin_clear(&f);
    return err;
}

static enum vd_err find_backend(const char *name, const char *plugin_dir,
                                struct backend *out)
{
    struct backend found = {.ops = NULL};
    for (int i = 0; built_backends[i] && !found.ops; i++)
        if (strcmp(built_backends[i]->name, name) == 0)
            found.ops = built_backends[i];
    if (!found.ops)
        VD_TRY(find_plugin(name, plugin_dir, &found));
    const char *reason = found.ops->unavailable();
    if (reason)
        return VD_FAIL(VD_UNSUPPORTED,
                       "backend %s: %s\n"
                       "use another machine, or --backend ref (slow)",
                       name, reason);
    *out = found;
    return VD_OK;
}

/* ---- precision ---- */

static const char *const precision_names[BACKEND_PRECISIONS] = {
    [BACKEND_FP32] = "fp32",
    [BACKEND_TF32] = "tf32",
    [BACKEND_BF16] = "bf16",
    [BACKEND_FP16] = "fp16",
};

/* Such as "fp32, fp16"; owned. */
static char *format_precisions(unsigned precisions)
{
    struct text list = {0};
    for (int p = 0; p < BACKEND_PRECISIONS; p++)
        if (precisions & 1u << p)
            text_add(&list, "%s%s", list.length ? ", " : "",
                     precision_names[p]);
    return list.bytes;
}

/* Falls back to fp32, which every backend has, if that is allowed. */
static enum vd_err resolve_precision(const struct backend_ops *ops,
                                     struct backend_config *config)
{
    enum vd_err err = VD_OK;
    const char *wanted = precision_names[config->precision];
    if (ops->precisions & 1u << config->precision)
        return VD_OK;
    char *has = format_precisions(ops->precisions);
    if (config->precision_is_optional)
        log_warn_global("backend %s computes in %s only, not in %s: computing "
                        "in fp32",
                        ops->name, has, wanted);
    else
        err = VD_FAIL(VD_UNSUPPORTED,
                      "train.precision: backend %s computes in %s only, not in "
                      "%s\n"
                      "give --train.precision fp32",
                      ops->name, has, wanted);
    free(has);
    config->precision = BACKEND_FP32;
    return err;
}

/* ---- auto ---- */

/* Ends at ref, which is always built and always available. */
static const struct backend_ops *best_built_backend(void)
{
    int i = 0;
    while (built_backends[i]->unavailable())
        i++;
    return built_backends[i];
}

/* A plugin that is installed but cannot be used is a warning. */
static struct backend best_available_backend(const char *plugin_dir)
{
    struct backend_plugin_file f =
        backend_plugin_load(PREFERRED_PLUGIN, plugin_dir);
    struct backend best = {.ops = f.ops, .collective = f.collective};
    const char *reason = f.reason ? f.reason
                         : f.ops  ? f.ops->unavailable()
                                  : NULL;
    if (reason) {
        log_warn_global("backend auto: not " PREFERRED_PLUGIN ": %s: %s\n"
                        "give --backend cpu if that is intended",
                        f.path, reason);
    }
    if (reason || !f.ops)
        best = (struct backend){.ops = best_built_backend()};
    backend_plugin_clear(&f);
    return best;
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
    struct backend_config resolved = *config;
    bool is_auto = strcmp(name, "auto") == 0;
    *b = (struct backend){.ops = NULL};
    if (is_auto)
        *b = best_available_backend(config->plugin_dir);
    else
        VD_TRY(find_backend(name, config->plugin_dir, b));
    enum vd_err err = resolve_precision(b->ops, &resolved);
    if (err == VD_OK)
        err = b->ops->open(b, &resolved);
    if (err) {
        *b = (struct backend){.ops = NULL};
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
