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
        .name = "eval",
        .summary = "measure a network on a data set",
        .usage = "--checkpoint PATH [--data DIR] [--per-image FILE.csv]",
        .details = "Every image counts once, at any number of ranks.",
        .table = &eval_table,
        .options_size = sizeof(struct eval_options),
        .reads_config = true,
        .run = command_eval,
    },
    {
        .name = "export",
        .summary = "write a network's weights for other programs",
        .usage = "--checkpoint PATH -o FILE",
        .details = "torchvision's names for the backbone, head.* for the head, "
                   "PyTorch's layouts.",
        .table = &export_table,
        .options_size = sizeof(struct export_options),
        .run = command_export,
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
