/*
 * The subcommands of vocdist: command_NAME() in command_NAME.c, with the struct
 * and the table of its own options. main.c lists them. A subcommand that
 * can run on several ranks opens comm itself.
 */
#ifndef VOCDIST_CLI_COMMAND_H
#define VOCDIST_CLI_COMMAND_H

#include "cli/program.h"

/* The row of --checkpoint; `offset_` is that of the field. */
#define COMMAND_ROW_CHECKPOINT(offset_)                                      \
    {                                                                        \
        .key = "checkpoint", .type = OPTION_TEXT, .offset = (offset_),       \
        .default_text = "", .metavar = "PATH",                               \
        .help = "checkpoint to read: a step-*.h5 file, a link to one, or a " \
                "run's folder (its last checkpoint)"                         \
    }

struct train_options {
    bool dry_run;
    int64_t overfit_batch; /* steps; 0: off */
};
extern const struct option_table train_table;
enum vd_err command_train(struct command_call *call);

struct eval_options {
    char *checkpoint, *weights, *data, *per_image, *picture;
};
extern const struct option_table eval_table;
enum vd_err command_eval(struct command_call *call);

struct bench_options {
    int64_t steps;
    bool json;
};
extern const struct option_table bench_table;
enum vd_err command_bench(struct command_call *call);

struct export_options {
    char *checkpoint, *output;
    int format;
};
extern const struct option_table export_table;
enum vd_err command_export(struct command_call *call);

enum vd_err command_info(struct command_call *call);

#endif
