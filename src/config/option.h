/*
 * Option tables: one row per option is all there is to know about it. From
 * the row come the command line option, the environment variable, the YAML
 * key, the checks, --help, --print-config and the saved config.
 *
 * A program hands over the tables it accepts, each with the struct its rows
 * write into. Values arrive as text from one origin after the other; later
 * origins win: built-in default < YAML files in order < environment < command
 * line. Every row remembers its origin ("configs/a.yaml:12").
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
 * All calls are Local. Messages name the key, the value, its origin and what
 * would be right; codes: VD_USAGE from the command line, else VD_CONFIG.
 */
#ifndef VOCDIST_CONFIG_OPTION_H
#define VOCDIST_CONFIG_OPTION_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the field at `offset` is. */
enum option_type {
    OPTION_BOOL,   /* bool: true|false, on|off, yes|no */
    OPTION_INT,    /* int64_t */
    OPTION_REAL,   /* double */
    OPTION_TEXT,   /* char *, owned by the set, never NULL ("" = not given) */
    OPTION_CHOICE, /* int: index into `choices` */
    OPTION_INTS,   /* struct option_ints: "3,4,6,3" */
};

/* May it differ when a run is resumed? (docs/architecture.md, "Resume") */
enum option_class {
    OPTION_FREE,     /* chosen anew at every start */
    OPTION_IDENTITY, /* part of what the trained bits depend on: must not */
    OPTION_EXTENT,   /* may grow; 0, where allowed, is without end */
    OPTION_BACKEND,  /* may change; ends bit equality, which is logged */
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
    const char *default_text; /* the built-in default, as text */
    const char *help;         /* one line, lower case; units in it */
    const char *metavar;      /* "FILE", "N"; NULL: from the type */
    const char *choices;      /* "none|sqrt|linear"; for CHOICE */
    double min, max; /* INT and REAL and each of INTS; both 0: no limit */
    enum option_class class;
    char letter;  /* 'j' for -j, or 0 */
    bool is_auto; /* INT: the word "auto" is allowed too, stored as -1 */
};

struct option_table {
    const char *name; /* "pack": heading in --help */
    const struct option *rows;
    size_t n;
    /* True: also read from YAML and the environment. Subcommand tables are
     * command line only. */
    bool is_config;
};

#define OPTION_MAX_TABLES 4
struct option_set {
    const struct option_table *tables[OPTION_MAX_TABLES];
    void *targets[OPTION_MAX_TABLES];
    char **origins[OPTION_MAX_TABLES]; /* per row, owned; NULL: default */
    int n;
};

/* Arguments that are not options, borrowed from argv. */
struct option_args {
    char **args; /* owned array; free() it */
    int n;
};

void options_init(struct option_set *set);
/* Also sets every field of `target` to its default. The table and `target`
 * must outlive the set; a key or letter that is taken is our bug. */
void options_add(struct option_set *set, const struct option_table *table,
                 void *target);
void options_clear(struct option_set *set);

/* `origin` is copied: "command line", "environment NAME", "FILE:LINE". */
enum vd_err options_set(struct option_set *set, const char *key,
                        const char *text, const char *origin) VD_MUST_USE;
/* YAML mappings of scalars, up to 1 MiB; no anchors, aliases, tags. */
enum vd_err options_read_yaml(struct option_set *set,
                              const char *path) VD_MUST_USE;
/* As options_read_yaml, for text that came from elsewhere; `name` stands for
 * the path in messages and origins. */
enum vd_err options_read_yaml_text(struct option_set *set, const char *name,
                                   const char *bytes, size_t n) VD_MUST_USE;
/*
 * Every VOCDIST_* variable must be one of ours. Not options, and ignored:
 * VOCDIST_TEST_DATA, VOCDIST_FAULT, VOCDIST_LAUNCHER (slurm/common.sh), and
 * what module systems set for every package (VOCDIST_ROOT, _HOME, _DIR,
 * _VERSION, _LIB, _INC, _BASE, _PREFIX).
 */
enum vd_err options_read_environment(struct option_set *set) VD_MUST_USE;
/* A debug line for each of the latter that is set. */
void options_log_environment(void);
/* --key value, --key=value, -j 4, -j4, --flag or --flag true, "--" ends. */
enum vd_err options_read_arguments(struct option_set *set, int argc,
                                   char **argv,
                                   struct option_args *words) VD_MUST_USE;
/* All values `key` has on the command line, in order, setting nothing: for
 * what must be acted on before the rest is read (-c FILE, --help). */
enum vd_err options_collect_arguments(const struct option_set *set, int argc,
                                      char **argv, const char *key,
                                      struct option_args *values) VD_MUST_USE;

/* Was it given anywhere (not the default)? Unknown keys are our bug. */
bool options_is_set(const struct option_set *set, const char *key);
/* Where its value comes from; "default" when it was not given. */
const char *options_origin(const struct option_set *set, const char *key);

/* The value as it is written to YAML. */
void options_format(const struct option_set *set, const char *key,
                    struct text *out);
/* All rows of config tables as YAML; with origins as comments if asked. */
void options_format_yaml(const struct option_set *set, bool with_origins,
                         struct text *out);
/* One block per table: "--key METAVAR   help (default)". */
void options_format_help(const struct option_set *set, struct text *out);

/* "0.2.5": the libyaml that is linked; static. */
const char *options_yaml_library(void);

#endif
