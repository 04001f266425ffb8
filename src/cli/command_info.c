#include "backend/backend.h"
#include "base/hash.h"
#include "base/machine.h"
#include "cli/command.h"
#include "config/option.h"

#include <stdio.h>
#include <stdlib.h>

static enum vd_err print_backends(void)
{
    const struct backend_config config = {.tune = "off"};
    for (const struct backend_ops *const *ops = backend_list(); *ops; ops++) {
        struct backend b;
        const char *reason = (*ops)->unavailable();
        if (reason) {
            printf("backend    %s: not on this machine: %s\n", (*ops)->name,
                   reason);
            continue;
        }
        VD_TRY(backend_open(&b, (*ops)->name, &config));
        printf("backend    %s (%s)\n", b.ops->name, b.ops->describe(&b));
        backend_close(&b);
    }
    return VD_OK;
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
