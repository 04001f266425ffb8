#include "base/log.h"
#include "cli/command.h"
#include "train/restore.h"

#define AT(field) offsetof(struct export_options, field)
static const struct option options[] = {
    {.key = "checkpoint",
     .type = OPTION_TEXT,
     .offset = AT(checkpoint),
     .fallback = "",
     .metavar = "PATH",
     .help = "the network: a checkpoint, a link to one, or a run's folder"},
    {.key = "format",
     .type = OPTION_CHOICE,
     .offset = AT(format),
     .fallback = "safetensors",
     .choices = "safetensors",
     .help = "what is written"},
    {.key = "output",
     .type = OPTION_TEXT,
     .offset = AT(output),
     .fallback = "",
     .metavar = "FILE",
     .letter = 'o',
     .help = "where"},
};
const struct option_table export_table = {
    .name = "export", .rows = options, .n = sizeof options / sizeof *options};

enum vd_err command_export(struct command_call *call)
{
    const struct export_options *o = call->options;
    struct restored r;
    if (!*o->checkpoint || !*o->output)
        return VD_FAIL(VD_USAGE, "export needs a network and a place\n"
                                 "give --checkpoint runs/NAME -o FILE");
    enum vd_err err = restore_checkpoint_alone(&r, o->checkpoint);
    if (err == VD_OK)
        err = restore_save_weights(&r, o->output);
    if (err == VD_OK)
        log_info("wrote %s", o->output);
    restore_clear(&r);
    return err;
}
