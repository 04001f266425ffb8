/*
 * Command line front end, shared by vocdist and vocpack (program.h).
 *
 * program_main(): find_command() picks the subcommand; add_tables() adds its
 * table, the general one, and either the config tables or --log.level;
 * answer_help_and_version() runs before any file is read, so --help works with
 * a broken config; read_options() reads files, environment and arguments in
 * this order; then --print-config, or the subcommand. check_stdout() is last.
 *
 * Until the subcommand starts, only rank 0 logs and prints (is_first_rank()).
 */
#include "cli/program.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "config/config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define DEFAULT_FILE "vocdist.yaml"
#define MAX_FILES    65536 /* open files; some libraries loop over the limit */

/* ---- rank 0 before MPI is initialized ---------------------------------- */

/* All ranks have the same command line, so only rank 0 prints --help and errors
 * in it. Launchers set these variables to the rank (PMIx, Open MPI). */
static bool is_first_rank(void)
{
    const char *rank = getenv("PMIX_RANK");
    if (!rank)
        rank = getenv("OMPI_COMM_WORLD_RANK");
    return !rank || !strcmp(rank, "0");
}

/* ---- the options every subcommand has ---------------------------------- */

struct general_options {
    bool help, version;
};

static const struct option general_rows[] = {
    {.key = "help",
     .type = OPTION_BOOL,
     .offset = offsetof(struct general_options, help),
     .default_text = "false",
     .help = "print this text and exit",
     .letter = 'h'},
    {.key = "version",
     .type = OPTION_BOOL,
     .offset = offsetof(struct general_options, version),
     .default_text = "false",
     .help = "print the version and exit"},
};
static const struct option_table general_table = {
    .name = "general", .rows = general_rows, .n = 2};

struct log_options {
    int level; /* enum log_level */
};

/* For subcommands without a config. */
static const struct option log_rows[] = {
    CONFIG_ROW_LOG_LEVEL(offsetof(struct log_options, level)),
};
static const struct option_table log_table = {
    .name = "log", .rows = log_rows, .n = 1};

struct config_file_options {
    char *config;
    bool print_config;
};

static const struct option config_file_rows[] = {
    {.key = "config",
     .type = OPTION_TEXT,
     .offset = offsetof(struct config_file_options, config),
     .default_text = "",
     .help =
         "read settings from this YAML file; may be given several times, "
         "later files win; default: " DEFAULT_FILE " in the current folder, "
         "if it exists",
     .metavar = "FILE",
     .letter = 'c'},
    {.key = "print-config",
     .type = OPTION_BOOL,
     .offset = offsetof(struct config_file_options, print_config),
     .default_text = "false",
     .help = "print every setting with its origin, as YAML, and exit"},
};
static const struct option_table config_file_table = {
    .name = "config file", .rows = config_file_rows, .n = 2};

/* All state of one program run. */
struct invocation {
    const struct program *program;
    const struct command *command;
    char *const *all_argv;
    int argc; /* arguments after the subcommand's name */
    char **argv;
    struct option_set set;
    struct general_options general;
    struct log_options log;
    struct config_file_options config_file;
    struct config config;
    void *options; /* owned: the command's own struct */
    struct option_args args;
};

static void add_tables(struct invocation *v)
{
    const struct command *c = v->command;
    options_init(&v->set);
    if (c->table) {
        v->options = xcalloc(1, c->options_size);
        options_add(&v->set, c->table, v->options);
    }
    options_add(&v->set, &general_table, &v->general);
    if (c->reads_config) {
        options_add(&v->set, &config_file_table, &v->config_file);
        options_add(&v->set, &config_table, &v->config);
    } else {
        options_add(&v->set, &log_table, &v->log);
    }
}

/* ---- which subcommand -------------------------------------------------- */

static const struct command *find_by_name(const struct program *p,
                                          const char *name)
{
    for (size_t i = 0; i < p->n_commands; i++)
        if (!strcmp(p->commands[i].name, name))
            return &p->commands[i];
    return NULL;
}

static const char *nearest_name(const struct program *p, const char *word)
{
    const char **names = xcalloc(p->n_commands, sizeof *names);
    for (size_t i = 0; i < p->n_commands; i++)
        names[i] = p->commands[i].name;
    const char *near = text_nearest(word, names, p->n_commands);
    free(names);
    return near;
}

/*
 * The subcommand that the first argument names, else the default (first)
 * subcommand with all arguments. A word that resembles a name is an error,
 * unless a file has that name and the default subcommand takes files.
 */
static enum vd_err find_command(struct invocation *v, int argc, char **argv)
{
    const struct program *p = v->program;
    v->command = &p->commands[0];
    if (argc < 2)
        return VD_OK;
    v->argc = argc - 1;
    v->argv = argv + 1;
    const char *word = argv[1];
    const struct command *named = find_by_name(p, word);
    if (named) {
        v->command = named;
        v->argc--;
        v->argv++;
        return VD_OK;
    }
    const char *near = nearest_name(p, word);
    if (word[0] == '-' ||
        (v->command->takes_positionals && (!near || file_exists(word))))
        return VD_OK;
    return VD_FAIL(VD_USAGE,
                   near ? "unknown subcommand '%s'\ndid you mean '%s'?"
                        : "unknown subcommand '%s'\n%s --help lists them",
                   word, near ? near : p->name);
}

/* ---- help -------------------------------------------------------------- */

static void print_on_first_rank(const char *text)
{
    if (is_first_rank())
        fputs(text, stdout); // check_stdout() finds errors at the end
}

static void print_version(const struct program *p)
{
    struct text line = {0};
    text_add(&line, "%s %s\n", p->name, program_version());
    print_on_first_rank(line.bytes);
    free(line.bytes);
}

static void print_help(const struct invocation *v)
{
    const struct program *p = v->program;
    const struct command *c = v->command;
    bool is_default = c == &p->commands[0];
    struct text t = {0};
    text_add(&t, "%s: %s\n\n", p->name, p->summary);
    text_add(&t, "Usage: %s %s%s%s %s\n", p->name, is_default ? "[" : "",
             c->name, is_default ? "]" : "", c->usage);
    if (!is_default)
        text_add(&t, "  %s\n", c->summary);
    if (c->details)
        text_add(&t, "\n%s\n", c->details);
    if (is_default) {
        text_add(&t,
                 "\nSubcommands (%s SUBCOMMAND --help for their options):\n",
                 p->name);
        for (size_t i = 0; i < p->n_commands; i++)
            text_add(&t, "  %-9s %s%s\n", p->commands[i].name,
                     p->commands[i].summary, i ? "" : " (default)");
    }
    options_format_help(&v->set, &t);
    print_on_first_rank(t.bytes);
    free(t.bytes);
}

/* ---- reading options --------------------------------------------------- */

/* Handles --help and --version; `done` if one was given. */
static enum vd_err answer_help_and_version(struct invocation *v, bool *done)
{
    struct option_args help = {0}, version = {0};
    enum vd_err err =
        options_collect_arguments(&v->set, v->argc, v->argv, "help", &help);
    if (err == VD_OK)
        err = options_collect_arguments(&v->set, v->argc, v->argv, "version",
                                        &version);
    if (err == VD_OK && help.n > 0)
        print_help(v);
    else if (err == VD_OK && version.n > 0)
        print_version(v->program);
    *done = help.n > 0 || version.n > 0;
    free(help.args);
    free(version.args);
    return err;
}

static enum vd_err read_files(struct invocation *v,
                              const struct option_args *files)
{
    for (int i = 0; i < files->n; i++)
        VD_TRY(options_read_yaml(&v->set, files->args[i]));
    if (files->n == 0 && file_exists(DEFAULT_FILE))
        VD_TRY(options_read_yaml(&v->set, DEFAULT_FILE));
    return VD_OK;
}

static enum vd_err read_config(struct invocation *v)
{
    struct option_args files = {0};
    enum vd_err err =
        options_collect_arguments(&v->set, v->argc, v->argv, "config", &files);
    VD_TRY_GOTO(out, err, err);
    VD_TRY_GOTO(out, err, read_files(v, &files));
    VD_TRY_GOTO(out, err, options_read_environment(&v->set));
    VD_TRY_GOTO(out, err,
                options_read_arguments(&v->set, v->argc, v->argv, &v->args));
    log_set_level((enum log_level)v->config.log.level);
    options_log_environment();
    VD_TRY_GOTO(out, err,
                config_check(&v->set, files.n ? files.args[0] : NULL));
out:
    free(files.args);
    return err;
}

static enum vd_err read_options(struct invocation *v)
{
    if (v->command->reads_config) {
        VD_TRY(read_config(v));
    } else {
        VD_TRY(options_read_arguments(&v->set, v->argc, v->argv, &v->args));
        log_set_level((enum log_level)v->log.level);
    }
    if (v->args.n == 0 || v->command->takes_positionals)
        return VD_OK;
    const char *word = v->args.args[0];
    if (find_by_name(v->program, word))
        return VD_FAIL(VD_USAGE,
                       "command line: unexpected '%s'\n"
                       "put the subcommand first: %s %s ...",
                       word, v->program->name, word);
    return VD_FAIL(VD_USAGE,
                   "command line: unexpected '%s'\n"
                   "options start with --; %s --help lists them",
                   word, v->program->name);
}

/* ---- the program ------------------------------------------------------- */

static void print_config(const struct invocation *v)
{
    struct text t = {0};
    options_format_yaml(&v->set, true, &t);
    print_on_first_rank(t.bytes);
    free(t.bytes);
}

static enum vd_err run_command(struct invocation *v)
{
    bool done = false;
    VD_TRY(answer_help_and_version(v, &done));
    if (done)
        return VD_OK;
    VD_TRY(read_options(v));
    if (v->config_file.print_config) {
        print_config(v);
        return VD_OK;
    }
    log_set_sink(NULL, NULL);
    struct command_call call = {
        .set = &v->set,
        .options = v->options,
        .config = v->command->reads_config ? &v->config : NULL,
        .argv = v->all_argv,
        .positionals = v->args.args,
        .n_positionals = v->args.n,
    };
    return v->command->run(&call);
}

/* Raises an error if a write to stdout failed. */
static enum vd_err check_stdout(enum vd_err err)
{
    bool failed = ferror(stdout) != 0;
    failed = fflush(stdout) != 0 || failed;
    if (!failed || err != VD_OK)
        return err;
    return VD_FAIL(VD_IO,
                   "standard output: %s\nfree disk space, or redirect it",
                   errno ? strerror(errno) : "write failed");
}

const char *program_version(void)
{
    return VOCDIST_VERSION;
}

/*
 * Ignores SIGXFSZ, so that a write beyond the file size limit (ulimit -f) fails
 * with EFBIG and does not kill the process. Raises the limit of open files,
 * because a data set keeps one file open per shard.
 */
static void prepare_for_limits(void)
{
    struct rlimit files;
    signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= MAX_FILES)
        return;
    files.rlim_cur = files.rlim_max < MAX_FILES ? files.rlim_max : MAX_FILES;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        log_debug("the limit of open files cannot be raised: %s",
                  strerror(errno));
}

int program_main(const struct program *program, int argc, char **argv)
{
    struct invocation v = {.program = program, .all_argv = argv};
    log_init(program->name, LOG_LEVEL_INFO);
    prepare_for_limits();
    if (!is_first_rank())
        log_set_sink(log_discard, NULL);
    enum vd_err err = find_command(&v, argc, argv);
    if (err == VD_OK) {
        add_tables(&v);
        err = run_command(&v);
    }
    err = check_stdout(err);
    options_clear(&v.set);
    free(v.options);
    free(v.args.args);
    return err_exit_code(err);
}
