#include "cli/command.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

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
        .table = &train_table,
        .options_size = sizeof(struct train_options),
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
        .name = "bench",
        .summary = "measure how fast training is here",
        .usage = "[step|loader|exchange|checkpoint]... [--steps N] [--json]",
        .details =
            "Without a word all four. Every setting of train counts; nothing "
            "is kept.\n"
            "Where data.train has no shards, synthetic images are used.",
        .table = &bench_table,
        .options_size = sizeof(struct bench_options),
        .reads_config = true,
        .takes_positionals = true,
        .run = command_bench,
    },
    {
        .name = "info",
        .summary = "show what this program was built with",
        .usage = "",
        .run = command_info,
    },
};

/*
 * Threads that wait for work must sleep, not spin: where ranks x threads exceed
 * the cores a spinning one takes the core of one that works (measured: 300
 * times the processor time while idle). The OpenMP library reads this from
 * the environment before main() starts, hence the second start.
 */
static void set_passive_wait_policy(char **argv)
{
    char path[PATH_MAX];
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) != 0)
        return;
    /* By its own path: the link's name would be that of the process. */
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n > 0) {
        path[n] = '\0';
        execv(path, argv);
    }
    execv("/proc/self/exe", argv); /* if refused: slower, not wrong */
}

int main(int argc, char **argv)
{
    set_passive_wait_policy(argv);
    prctl(PR_SET_NAME, "vocdist"); /* whatever its file is called */
    static const struct program vocdist = {
        .name = "vocdist",
        .summary = "data-parallel training of the largest object's class and "
                   "box",
        .commands = commands,
        .n_commands = sizeof commands / sizeof *commands,
    };
    return program_main(&vocdist, argc, argv);
}
