#include "cli/command.h"

static const struct command commands[] = {
    {
        .name = "train",
        .summary = "train a network",
        .usage = "[-c FILE]... [--KEY VALUE]...",
        .details =
            "Settings come from the built-in defaults, then -c files in "
            "order,\n"
            "then the environment (--optim.lr is VOCDIST_OPTIM_LR), then the\n"
            "command line; later ones win.",
        .reads_config = true,
        .run = command_train,
    },
    {
        .name = "info",
        .summary = "show what this program was built with",
        .usage = "",
        .run = command_info,
    },
};

int main(int argc, char **argv)
{
    static const struct program vocdist = {
        .name = "vocdist",
        .summary = "data-parallel training of the largest object's class and "
                   "box",
        .commands = commands,
        .n_commands = sizeof commands / sizeof *commands,
    };
    return program_main(&vocdist, argc, argv);
}
