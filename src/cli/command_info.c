#include "backend/backend_plugin.h"
#include "base/hash.h"
#include "base/machine.h"
#include "cli/command.h"
#include "config/option.h"

#include <stdio.h>
#include <stdlib.h>

static enum vd_err print_backend(const struct backend_ops *ops)
{
    const struct backend_config config = {.local_rank = 0};
    struct backend b = {.ops = ops};
    const char *reason = ops->unavailable();
    if (reason) {
        printf("backend    %s: not on this machine: %s\n", ops->name, reason);
        return VD_OK;
    }
    VD_TRY(ops->open(&b, &config));
    printf("backend    %s (%s)\n", ops->name, ops->describe(&b));
    ops->close(&b);
    return VD_OK;
}

static enum vd_err print_plugin(const char *name)
{
    enum vd_err err = VD_OK;
    struct backend_plugin_file f =
        backend_plugin_load(name, getenv("VOCDIST_BACKEND_DIR"));
    if (f.ops)
        err = print_backend(f.ops);
    else if (f.reason)
        printf("backend    %s: %s: %s\n", name, f.path, f.reason);
    else
        printf("backend    %s: no libvocdist_backend_%s.so in %s\n", name, name,
               f.searched);
    backend_plugin_clear(&f);
    return err;
}

static enum vd_err print_backends(void)
{
    for (const struct backend_ops *const *ops = backend_list(); *ops; ops++)
        VD_TRY(print_backend(*ops));
    return print_plugin("cuda");
}

enum vd_err command_info(struct command_call *call)
{
    (void)call;
    unsigned xxhash = hash_library_version();
    printf("vocdist    %s\n", program_version());
    printf("built      %s\n", VOCDIST_BUILD);
    printf("libraries  libyaml %s, xxHash %u.%u.%u\n", options_yaml_library(),
           xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
    printf("cpu        %s\n", machine_isa());
    const char *policy = getenv("OMP_WAIT_POLICY");
    printf("threads    OMP_WAIT_POLICY %s\n", policy ? policy : "not set");
    return print_backends();
}
