#include "cli/command.h"

enum vd_err command_train(struct command_call *call)
{
    (void)call;
    return VD_FAIL(VD_UNSUPPORTED,
                   "version %s cannot train yet\n"
                   "--print-config shows the settings it understands",
                   program_version());
}
