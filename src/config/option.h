/*
 * Option tables: one row defines one option completely. The row gives the
 * command line option, the environment variable, the YAML key, the checks, the
 * text of --help, the line of --print-config and that of the saved config.
 *
 * A program adds each table it accepts together with the struct that the rows
 * write into. Values are read as text, one origin after the other, and later
 * origins win: built-in default < YAML files in order < environment < command
 * line. The set stores the origin of every value ("configs/a.yaml:12").
 *
 *     struct option_set set;
 *     options_init(&set);
 *     options_add(&set, &config_table, &config);
 *     options_add(&set, &eval_table, &eval);
 *     VD_TRY(options_read_yaml(&set, "voc2007.yaml"));
 *     VD_TRY(options_read_environment(&set));
 *     VD_TRY(options_read_arguments(&set, argc - 1, argv + 1, &words));
 *     ...
 *     options_clear(&set);
 *
 * All calls are Local. Error messages name the key, the value and its origin,
 * and the remedy lists valid values. Codes: VD_USAGE for the command line,
 * VD_CONFIG for files and the environment.
 */
#ifndef VOCDIST_CONFIG_OPTION_H
#define VOCDIST_CONFIG_OPTION_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The C type of the field at `offset`, and its text form. */
enum option_type {
    OPTION_BOOL,   /* bool: true|false, on|off, yes|no */
    OPTION_INT,    /* int64_t */
    OPTION_REAL,   /* double */
    OPTION_TEXT,   /* char *, owned by the set, never NULL ("": not given) */
    OPTION_CHOICE, /* int: index into `choices` */
    OPTION_INTS,   /* struct option_ints: "3,4,6,3" */
};

/* May the value change when a run is resumed? (docs/architecture.md, "Resume")
 */
enum option_class {
    OPTION_FREE,     /* may change: read again at every start */
    OPTION_IDENTITY, /* must not change: the trained bits depend on it */
    OPTION_EXTENT,   /* may only grow; 0, if allowed, means no limit */
    OPTION_BACKEND,  /* may change, but ends bit equality: logs a warning */
};

#define OPTION_MAX_INTS 8
struct option_ints {
    int64_t values[OPTION_MAX_INTS];
    int n;
};

struct option {
    const char *key; /* "optim.lr": --optim.lr, VOCDIST_OPTIM_LR, optim: lr: */
    enum option_type type;
    size_t offset;
    const char *default_text; /* the built-in default; must pass the checks */
    const char *help;         /* lower case, with units; no full stop */
    const char *metavar;      /* "FILE", "N"; NULL: chosen by type */
    const char *choices;      /* "none|sqrt|linear"; for CHOICE */
    double min, max; /* INT, REAL, each of INTS; min == max: no limit */
    enum option_class class;
    char letter;  /* 'j' for -j, or 0 */
    bool is_auto; /* INT: "auto" is allowed and stored as -1 */
};

struct option_table {
    const char *name; /* "pack": heading "Pack options" in --help */
    const struct option *rows;
    size_t n;
    /* True: also read from YAML files and the environment. The tables of
     * subcommands are false: command line only. */
    bool is_config;
};

#define OPTION_MAX_TABLES 4
struct option_set {
    const struct option_table *tables[OPTION_MAX_TABLES];
    void *targets[OPTION_MAX_TABLES];
    char **origins[OPTION_MAX_TABLES]; /* per row, owned; NULL: the default */
    int n;
};

/* Positional arguments, or the values of one option; borrowed from argv. */
struct option_args {
    char **args; /* owned array; free() it */
    int n;
};

void options_init(struct option_set *set);
/* Adds a table and sets every field of `target` to its default. Table and
 * `target` must outlive the set. Asserts that no key or letter is used twice.
 */
void options_add(struct option_set *set, const struct option_table *table,
                 void *target);
/* Frees origins and texts; OPTION_TEXT fields of the targets become NULL. */
void options_clear(struct option_set *set);

/* Parses, checks and stores one value; on an error the field is unchanged.
 * `origin` is copied: "command line", "environment NAME", "FILE:LINE". */
enum vd_err options_set(struct option_set *set, const char *key,
                        const char *text, const char *origin) VD_MUST_USE;
/* A YAML file of at most 1 MiB: mappings of scalars and of lists of whole
 * numbers, without anchors, aliases and tags. */
enum vd_err options_read_yaml(struct option_set *set,
                              const char *path) VD_MUST_USE;
/* As options_read_yaml(), for text in memory; `name` replaces the path in
 * messages and origins. */
enum vd_err options_read_yaml_text(struct option_set *set, const char *name,
                                   const char *bytes, size_t n) VD_MUST_USE;
/*
 * Reads the VOCDIST_* variables of config tables; an unknown one is an error.
 * Ignored, because they are not options: VOCDIST_TEST_DATA, VOCDIST_FAULT,
 * VOCDIST_LAUNCHER (slurm/common.sh), and the variables that module systems
 * set for every package (VOCDIST_ROOT, _HOME, _DIR, _VERSION, _LIB, _INC,
 * _BASE, _PREFIX).
 */
enum vd_err options_read_environment(struct option_set *set) VD_MUST_USE;
/* Logs, at level debug, each variable of a module system that is set. */
void options_log_environment(void);
/* Accepts --key value, --key=value, -j 4, -j4, --flag and --flag true. "--"
 * ends the options. `words` gets the positional arguments. */
enum vd_err options_read_arguments(struct option_set *set, int argc,
                                   char **argv,
                                   struct option_args *words) VD_MUST_USE;
/* Collects all values of `key` on the command line, in order, and sets nothing:
 * for options that are needed before the others are read (-c FILE, --help). */
enum vd_err options_collect_arguments(const struct option_set *set, int argc,
                                      char **argv, const char *key,
                                      struct option_args *values) VD_MUST_USE;

/* True if the key was given by any origin. Asserts that the key exists. */
bool options_is_set(const struct option_set *set, const char *key);
/* The origin of the value; "default" if it was not given. */
const char *options_origin(const struct option_set *set, const char *key);

/* Appends the value as it is written to YAML. */
void options_format(const struct option_set *set, const char *key,
                    struct text *out);
/* Appends all rows of config tables as YAML, with_origins: each with its origin
 * in a comment. */
void options_format_yaml(const struct option_set *set, bool with_origins,
                         struct text *out);
/* Appends one block per table: "--key METAVAR   help (default)". */
void options_format_help(const struct option_set *set, struct text *out);

/* Version of the linked libyaml: "0.2.5"; static. */
const char *options_yaml_library(void);

#endif
