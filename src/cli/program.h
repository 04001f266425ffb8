/*
 * The front that vocdist and vocpack share: it finds the subcommand, answers
 * --help and --version, reads the options, runs the subcommand and turns its
 * verdict into the exit status.
 *
 *     static const struct command commands[] = {
 *         {.name = "pack",
 *          .summary = "turn VOC folders into shards",
 *          .usage = "VOCROOT... -o DIR [OPTIONS]",
 *          .table = &pack_table,
 *          .options_size = sizeof(struct pack_options),
 *          .takes_positionals = true,
 *          .run = pack_run},
 *         ...
 *     };
 *     static const struct program vocpack = {"vocpack", "...", commands, 4};
 *     int main(int argc, char **argv)
 *     {
 *         return program_main(&vocpack, argc, argv);
 *     }
 *
 * Every subcommand has --help, --version and --log.level without listing
 * them. Everything here is Local; `run` may communicate.
 */
#ifndef VOCDIST_CLI_PROGRAM_H
#define VOCDIST_CLI_PROGRAM_H

#include "base/err.h"
#include "config/option.h"

#include <stdbool.h>
#include <stddef.h>

struct config;

/* What a subcommand gets; all borrowed until it returns. */
struct command_call {
    struct option_set *set; /* for options_is_set() */
    void *options;          /* what command.table's rows were written into */
    struct config *config;  /* NULL unless the command reads_config */
    char *const *argv;      /* the whole command line, NULL at its end */
    char **positionals;     /* arguments that are not options */
    int n_positionals;
};

struct command {
    const char *name, *summary; /* "pack", "turn VOC folders into shards" */
    const char *usage;          /* what follows the name: "VOCROOT... -o DIR" */
    const char *details;        /* more text for --help, or NULL */
    const struct option_table *table; /* its own options, or NULL */
    size_t options_size;              /* bytes of the struct they are in */
    bool reads_config;      /* config files (-c), environment, --print-config */
    bool takes_positionals; /* else a word is a usage error */
    enum vd_err (*run)(struct command_call *call);
};

struct program {
    const char *name, *summary;
    const struct command *commands; /* the first is run when none is named */
    size_t n_commands;
};

const char *program_version(void);

/* The whole program; returns the exit status. Output that could not be
 * written to stdout (disk full) is an error too. */
int program_main(const struct program *program, int argc, char **argv);

#endif
