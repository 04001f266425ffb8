#include "base/hash.h"
#include "base/machine.h"
#include "cli/command.h"
#include "config/option.h"

#include <stdio.h>

enum vd_err command_info(struct command_call *call)
{
    (void)call;
    unsigned xxhash = hash_library_version();
    printf("vocdist    %s\n", program_version());
    printf("built      %s\n", VOCDIST_BUILD);
    printf("libraries  libyaml %s, xxHash %u.%u.%u\n", options_yaml_library(),
           xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
    printf("cpu        %s\n", machine_instruction_set());
    return VD_OK;
}
