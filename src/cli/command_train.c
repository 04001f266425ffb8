#include "cli/command.h"
#include "comm/comm.h"
#include "config/config.h"
#include "train/dry_run.h"
#include "train/overfit.h"
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct train_options, field)
static const struct option options[] = {
    {.key = "dry-run",
     .type = OPTION_BOOL,
     .offset = AT(dry_run),
     .default_text = "false",
     .help = "try everything once, say what the run will cost, leave nothing "
             "behind"},
    {.key = "overfit-batch",
     .type = OPTION_INT,
     .offset = AT(overfit_batch),
     .default_text = "0",
     .min = 0,
     .max = 1e6,
     .metavar = "N",
     .help = "train on the first batch only, at most N steps: fails (76) "
             "unless box and class loss fall under 25 % of their start; "
             "leaves nothing behind; 0: off"},
};
const struct option_table train_table = {
    .name = "train", .rows = options, .n = sizeof options / sizeof *options};

static enum vd_err train_check_options(const struct command_call *call)
{
    const struct train_options *o = call->options;
    if (o->dry_run && o->overfit_batch)
        return VD_FAIL(VD_USAGE, "--dry-run and --overfit-batch are two things"
                                 "\ngive one after the other");
    if (o->overfit_batch == 1)
        return VD_FAIL(VD_USAGE, "--overfit-batch 1: no loss falls in one step"
                                 "\ngive some more, as in --overfit-batch 200");
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
    return trainer_run(comm, call->set, call->config, call->argv);
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
        fflush(stdout); /* errors are found at the end, by the program */
    free(report.bytes);
    /* Ends the job here and now unless all ranks have this verdict. */
    comm_close(&comm, err);
    return err;
}
