/* vocdist's subcommands, one per command_NAME.c; main.c lists them. */
#ifndef VOCDIST_CLI_COMMAND_H
#define VOCDIST_CLI_COMMAND_H

#include "cli/program.h"

enum vd_err command_train(struct command_call *call);
enum vd_err command_info(struct command_call *call);

#endif
