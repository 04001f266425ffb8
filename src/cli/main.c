#include "cli/command.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct command commands[] = {
    {
        .name = "train",
        .summary = "train a network, or resume training",
        .usage = "[-c FILE]... [--KEY VALUE]...",
        .details =
            "Settings are read from the built-in defaults, then -c files in "
            "order,\n"
            "then the environment (--optim.lr is VOCDIST_OPTIM_LR), then the\n"
            "command line; later ones win. The same command again resumes the "
            "run.",
        .table = &train_table,
        .options_size = sizeof(struct train_options),
        .reads_config = true,
        .run = command_train,
    },
    {
        .name = "eval",
        .summary = "evaluate a network on a data set",
        .usage = "--checkpoint PATH [--data DIR] [--per-image FILE.csv]",
        .details = "Every image counts once; the results are the same at any "
                   "number of ranks.",
        .table = &eval_table,
        .options_size = sizeof(struct eval_options),
        .reads_config = true,
        .run = command_eval,
    },
    {
        .name = "export",
        .summary = "write the weights of a checkpoint as safetensors",
        .usage = "--checkpoint PATH -o FILE",
        .details = "The backbone has torchvision's names, the head is head.*; "
                   "layouts are PyTorch's.",
        .table = &export_table,
        .options_size = sizeof(struct export_options),
        .run = command_export,
    },
    {
        .name = "bench",
        .summary = "measure the speed of training on this machine",
        .usage = "[step|loader|exchange|checkpoint]... [--steps N] [--json]",
        .details =
            "Measures all four parts by default, with the settings of train; "
            "keeps no files.\n"
            "Without data.train it measures on synthetic images.",
        .table = &bench_table,
        .options_size = sizeof(struct bench_options),
        .reads_config = true,
        .takes_positionals = true,
        .run = command_bench,
    },
    {
        .name = "info",
        .summary = "show version, libraries and usable backends",
        .usage = "",
        .run = command_info,
    },
};

/*
 * Makes idle OpenMP threads sleep, not spin. If ranks x threads exceed the
 * cores, a spinning thread takes a core from a working one (measured: 300
 * times the processor time while idle). The OpenMP library reads the variable
 * before main() starts, so the program executes itself again.
 */
static void set_passive_wait_policy(char **argv)
{
    char path[PATH_MAX];
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) != 0)
        return;
    /* By its real path: the link would make "exe" the name of the process. */
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n > 0) {
        path[n] = '\0';
        execv(path, argv);
    }
    execv("/proc/self/exe", argv); /* if this fails too: slower, but correct */
}

int main(int argc, char **argv)
{
    set_passive_wait_policy(argv);
    prctl(PR_SET_NAME, "vocdist"); /* also if the file was renamed */
    static const struct program vocdist = {
        .name = "vocdist",
        .summary = "data-parallel training of the largest object's class and "
                   "box",
        .commands = commands,
        .n_commands = sizeof commands / sizeof *commands,
    };
    return program_main(&vocdist, argc, argv);
}
