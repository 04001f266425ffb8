/*
 * Command line front end of vocdist and vocpack: finds the subcommand, handles
 * --help and --version, reads the options, runs the subcommand and converts its
 * error code to the exit status.
 *
 *     static const struct command commands[] = {
 *         {.name = "pack",
 *          .summary = "convert VOC folders to a data set for vocdist",
 *          .usage = "VOCROOT... -o DIR",
 *          .table = &pack_table,
 *          .options_size = sizeof(struct pack_options),
 *          .takes_positionals = true,
 *          .run = run_pack},
 *         ...
 *     };
 *     static const struct program vocpack = {"vocpack", "...", commands, 3};
 *     int main(int argc, char **argv)
 *     {
 *         return program_main(&vocpack, argc, argv);
 *     }
 *
 * Every subcommand has --help, --version and --log.level without listing them
 * in its table. All calls are Local; `run` may communicate.
 */
#ifndef VOCDIST_CLI_PROGRAM_H
#define VOCDIST_CLI_PROGRAM_H

#include "base/err.h"
#include "config/option.h"

#include <stdbool.h>
#include <stddef.h>

struct config;

/* Arguments of a subcommand; all borrowed until it returns. */
struct command_call {
    struct option_set *set; /* for options_is_set() */
    void *options;          /* the struct that command.table writes into */
    struct config *config;  /* NULL unless command.reads_config */
    char *const *argv;      /* the whole command line, NULL-terminated */
    char **positionals;     /* arguments that are not options */
    int n_positionals;
};

struct command {
    const char *name;                 /* "pack" */
    const char *summary;              /* "convert VOC folders to ..." */
    const char *usage;                /* after the name: "VOCROOT... -o DIR" */
    const char *details;              /* more lines for --help, or NULL */
    const struct option_table *table; /* its own options, or NULL */
    size_t options_size;              /* bytes of the struct of the table */
    bool reads_config;      /* config files (-c), environment, --print-config */
    bool takes_positionals; /* false: a word is a usage error */
    enum vd_err (*run)(struct command_call *call);
};

struct program {
    const char *name, *summary;
    const struct command *commands; /* the first one is the default */
    size_t n_commands;
};

const char *program_version(void);

/* Runs the whole program and returns the exit status. A failed write to stdout
 * (disk full) is an error. */
int program_main(const struct program *program, int argc, char **argv);

#endif
