#include "cli/command.h"
#include "comm/comm.h"
#include "config/config.h"
#include "train/dry_run.h"
#include "train/overfit.h"
#include "train/train_loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct train_options, field)
static const struct option options[] = {
    {.key = "dry-run",
     .type = OPTION_BOOL,
     .offset = AT(dry_run),
     .default_text = "false",
     .help = "run the whole path once (start, steps, validation, checkpoint), "
             "print memory, disk space and time that the run will need, and "
             "keep no files"},
    {.key = "overfit-batch",
     .type = OPTION_INT,
     .offset = AT(overfit_batch),
     .default_text = "0",
     .min = 0,
     .max = 1e6,
     .metavar = "N",
     .help = "overfit a single batch: train at most N steps on the first "
             "global batch, without augmentation and dropout; exit code 76 "
             "unless box and class loss fall below 25 % of their start; keeps "
             "no files; 0: off"},
};
const struct option_table train_table = {
    .name = "train", .rows = options, .n = sizeof options / sizeof *options};

static enum vd_err train_check_options(const struct command_call *call)
{
    const struct train_options *o = call->options;
    if (o->dry_run && o->overfit_batch)
        return VD_FAIL(VD_USAGE, "--dry-run and --overfit-batch cannot be used "
                                 "together\nrun one after the other");
    if (o->overfit_batch == 1)
        return VD_FAIL(VD_USAGE, "--overfit-batch 1: a loss cannot fall in one "
                                 "step\ngive more steps, as in "
                                 "--overfit-batch 200");
    const char *resume = call->config->resume;
    if (o->overfit_batch && strcmp(resume, "auto") && strcmp(resume, "none"))
        return VD_FAIL(VD_USAGE,
                       "--resume %s: --overfit-batch starts from the "
                       "run's initial weights\nleave --resume out",
                       resume);
    return VD_OK;
}

static enum vd_err start_training(struct command_call *call, struct comm *comm,
                                  struct text *report)
{
    const struct train_options *o = call->options;
    if (o->dry_run)
        return dry_run(comm, call->set, call->config, call->argv, report);
    if (o->overfit_batch)
        return overfit_check(comm, call->set, call->config, call->argv,
                             o->overfit_batch, report);
    return train_run(comm, call->set, call->config, call->argv);
}

enum vd_err command_train(struct command_call *call)
{
    struct comm comm;
    struct text report = {0};
    VD_TRY(train_check_options(call));
    enum vd_err err = comm_open(&comm, call->config->timeout.setup);
    if (err == VD_OK)
        err = start_training(call, &comm, &report);
    if (report.bytes && fputs(report.bytes, stdout) >= 0)
        fflush(stdout); /* program_main() checks stdout at the end */
    free(report.bytes);
    /* Aborts the job unless all ranks have agreed on `err`. */
    comm_close(&comm, err);
    return err;
}
