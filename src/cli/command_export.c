#include "base/log.h"
#include "cli/command.h"
#include "run/trained_model.h"

#define AT(field) offsetof(struct export_options, field)
static const struct option options[] = {
    COMMAND_ROW_CHECKPOINT(AT(checkpoint)),
    {.key = "format",
     .type = OPTION_CHOICE,
     .offset = AT(format),
     .default_text = "safetensors",
     .choices = "safetensors",
     .help = "format of the output file"},
    {.key = "output",
     .type = OPTION_TEXT,
     .offset = AT(output),
     .default_text = "",
     .metavar = "FILE",
     .letter = 'o',
     .help = "file to write"},
};
const struct option_table export_table = {
    .name = "export", .rows = options, .n = sizeof options / sizeof *options};

enum vd_err command_export(struct command_call *call)
{
    const struct export_options *o = call->options;
    struct trained_model m;
    if (!*o->checkpoint || !*o->output)
        return VD_FAIL(VD_USAGE, "export: --checkpoint and -o are required\n"
                                 "give --checkpoint runs/NAME -o FILE");
    enum vd_err err = trained_model_load_local(&m, o->checkpoint);
    if (err == VD_OK)
        err = trained_model_save_weights(&m, o->output);
    if (err == VD_OK)
        log_info("wrote %s", o->output);
    trained_model_clear(&m);
    return err;
}
