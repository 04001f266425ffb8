#include "cli/program.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define DEFAULT_FILE "vocdist.yaml"
#define MAX_FILES    65536 /* open ones; libraries walk over all they may have */

/* ---- who speaks before the ranks know each other ------------------------ */

/* All ranks of a job have the same command line, so what is wrong with it, or
 * --help, is for rank 0 to say. Launchers tell ranks by these variables. */
static bool speaks(void)
{
    const char *rank = getenv("PMIX_RANK");
    if (!rank)
        rank = getenv("OMPI_COMM_WORLD_RANK");
    return !rank || !strcmp(rank, "0");
}

/* ---- the options every subcommand has ---------------------------------- */

struct front {
    bool help, version;
};

static const struct option front_rows[] = {
    {.key = "help",
     .type = OPTION_BOOL,
     .offset = offsetof(struct front, help),
     .fallback = "false",
     .help = "show this text",
     .letter = 'h'},
    {.key = "version",
     .type = OPTION_BOOL,
     .offset = offsetof(struct front, version),
     .fallback = "false",
     .help = "show the version"},
};
static const struct option_table front_table = {
    .name = "general", .rows = front_rows, .n = 2};

struct log_front {
    int level; /* enum log_level */
};

/* For subcommands without a config, which has this key too. */
static const struct option log_rows[] = {
    {.key = "log.level",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct log_front, level),
     .fallback = "info",
     .help = "how much is said on stderr",
     .choices = "error|warn|info|debug"},
};
static const struct option_table log_table = {
    .name = "log", .rows = log_rows, .n = 1};

struct config_front {
    char *config;
    bool print_config;
};

static const struct option config_front_rows[] = {
    {.key = "config",
     .type = OPTION_TEXT,
     .offset = offsetof(struct config_front, config),
     .fallback = "",
     .help = "read this file; may be given several times, later ones win; "
             "default: " DEFAULT_FILE " here, if there is one",
     .metavar = "FILE",
     .letter = 'c'},
    {.key = "print-config",
     .type = OPTION_BOOL,
     .offset = offsetof(struct config_front, print_config),
     .fallback = "false",
     .help = "show every setting and where it comes from"},
};
static const struct option_table config_front_table = {
    .name = "config file", .rows = config_front_rows, .n = 2};

/* Everything one call of a program holds. */
struct run {
    const struct program *program;
    const struct command *command;
    char *const *all_argv;
    int argc; /* arguments after the subcommand's name */
    char **argv;
    struct option_set set;
    struct front front;
    struct log_front log;
    struct config_front config_front;
    struct config config;
    void *options; /* owned: the command's own struct */
    struct option_words words;
};

static void add_tables(struct run *r)
{
    const struct command *c = r->command;
    options_init(&r->set);
    if (c->table) {
        r->options = mem_new(1, c->options_size);
        options_add(&r->set, c->table, r->options);
    }
    options_add(&r->set, &front_table, &r->front);
    if (c->reads_config) {
        options_add(&r->set, &config_front_table, &r->config_front);
        options_add(&r->set, &config_table, &r->config);
    } else {
        options_add(&r->set, &log_table, &r->log);
    }
}

/* ---- which subcommand -------------------------------------------------- */

static const struct command *command_named(const struct program *p,
                                           const char *name)
{
    for (size_t i = 0; i < p->n_commands; i++)
        if (!strcmp(p->commands[i].name, name))
            return &p->commands[i];
    return NULL;
}

static const char *command_near(const struct program *p, const char *word)
{
    const char **names = mem_new(p->n_commands, sizeof *names);
    for (size_t i = 0; i < p->n_commands; i++)
        names[i] = p->commands[i].name;
    const char *near = text_nearest(word, names, p->n_commands);
    free(names);
    return near;
}

/*
 * The first argument, if it is a subcommand's name; else the first subcommand
 * with all arguments. What looks like a misspelt name is refused, unless a
 * file has that name and files are what the first subcommand takes.
 */
static enum vd_err find_command(struct run *r, int argc, char **argv)
{
    const struct program *p = r->program;
    r->command = &p->commands[0];
    if (argc < 2)
        return VD_OK;
    r->argc = argc - 1;
    r->argv = argv + 1;
    const char *word = argv[1];
    const struct command *named = command_named(p, word);
    if (named) {
        r->command = named;
        r->argc--;
        r->argv++;
        return VD_OK;
    }
    const char *near = command_near(p, word);
    if (word[0] == '-' ||
        (r->command->takes_words && (!near || file_exists(word))))
        return VD_OK;
    return VD_FAIL(VD_USAGE,
                   near ? "unknown subcommand '%s'\ndid you mean '%s'?"
                        : "unknown subcommand '%s'\n%s --help lists them",
                   word, near ? near : p->name);
}

/* ---- help -------------------------------------------------------------- */

static void print(const char *text)
{
    if (speaks())
        fputs(text, stdout); // errors are found at the end, by finish()
}

static void print_version(const struct program *p)
{
    struct text line = {0};
    text_add(&line, "%s %s\n", p->name, program_version());
    print(line.bytes);
    free(line.bytes);
}

static void print_help(const struct run *r)
{
    const struct program *p = r->program;
    const struct command *c = r->command;
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
        text_add(&t, "\nSubcommands (%s SUBCOMMAND --help says more):\n",
                 p->name);
        for (size_t i = 0; i < p->n_commands; i++)
            text_add(&t, "  %-9s %s%s\n", p->commands[i].name,
                     p->commands[i].summary, i ? "" : " (when none is named)");
    }
    options_format_help(&r->set, &t);
    print(t.bytes);
    free(t.bytes);
}

/* ---- reading options --------------------------------------------------- */

/* Answers --help and --version; `done` when there was one. */
static enum vd_err answer(struct run *r, bool *done)
{
    struct option_words help = {0}, version = {0};
    enum vd_err err =
        options_collect_arguments(&r->set, r->argc, r->argv, "help", &help);
    if (err == VD_OK)
        err = options_collect_arguments(&r->set, r->argc, r->argv, "version",
                                        &version);
    if (err == VD_OK && help.n > 0)
        print_help(r);
    else if (err == VD_OK && version.n > 0)
        print_version(r->program);
    *done = help.n > 0 || version.n > 0;
    free(help.words);
    free(version.words);
    return err;
}

static enum vd_err read_files(struct run *r, const struct option_words *files)
{
    for (int i = 0; i < files->n; i++)
        VD_TRY(options_read_yaml(&r->set, files->words[i]));
    if (files->n == 0 && file_exists(DEFAULT_FILE))
        VD_TRY(options_read_yaml(&r->set, DEFAULT_FILE));
    return VD_OK;
}

static enum vd_err read_config(struct run *r)
{
    struct option_words files = {0};
    enum vd_err err =
        options_collect_arguments(&r->set, r->argc, r->argv, "config", &files);
    VD_TRY_ELSE(out, err, err);
    VD_TRY_ELSE(out, err, read_files(r, &files));
    VD_TRY_ELSE(out, err, options_read_environment(&r->set));
    VD_TRY_ELSE(out, err,
                options_read_arguments(&r->set, r->argc, r->argv, &r->words));
    log_set_level((enum log_level)r->config.log.level);
    options_say_environment();
    VD_TRY_ELSE(out, err,
                config_check(&r->set, files.n ? files.words[0] : NULL));
out:
    free(files.words);
    return err;
}

static enum vd_err read_options(struct run *r)
{
    if (r->command->reads_config) {
        VD_TRY(read_config(r));
    } else {
        VD_TRY(options_read_arguments(&r->set, r->argc, r->argv, &r->words));
        log_set_level((enum log_level)r->log.level);
    }
    if (r->words.n == 0 || r->command->takes_words)
        return VD_OK;
    const char *word = r->words.words[0];
    if (command_named(r->program, word))
        return VD_FAIL(VD_USAGE,
                       "command line: unexpected '%s'\n"
                       "a subcommand comes first: %s %s ...",
                       word, r->program->name, word);
    return VD_FAIL(VD_USAGE,
                   "command line: unexpected '%s'\n"
                   "options start with --; %s --help lists them",
                   word, r->program->name);
}

/* ---- the program ------------------------------------------------------- */

static void print_config(const struct run *r)
{
    struct text t = {0};
    options_format_yaml(&r->set, true, &t);
    print(t.bytes);
    free(t.bytes);
}

static enum vd_err run(struct run *r)
{
    bool done = false;
    VD_TRY(answer(r, &done));
    if (done)
        return VD_OK;
    VD_TRY(read_options(r));
    if (r->config_front.print_config) {
        print_config(r);
        return VD_OK;
    }
    log_divert(NULL, NULL);
    struct command_call call = {
        .set = &r->set,
        .options = r->options,
        .config = r->command->reads_config ? &r->config : NULL,
        .argv = r->all_argv,
        .words = r->words.words,
        .n_words = r->words.n,
    };
    return r->command->run(&call);
}

/* What was printed must have arrived. */
static enum vd_err finish(enum vd_err err)
{
    bool failed = ferror(stdout) != 0;
    failed = fflush(stdout) != 0 || failed;
    if (!failed || err != VD_OK)
        return err;
    return VD_FAIL(VD_IO, "standard output: %s\nmake room, or redirect it",
                   errno ? strerror(errno) : "write failed");
}

const char *program_version(void)
{
    return VOCDIST_VERSION;
}

/*
 * A write beyond the limit of file sizes (ulimit -f) is an error like any
 * other, EFBIG, not a signal that ends the process without a word. And a data
 * set has as many open files as shards: up to what we may have.
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
    struct run r = {.program = program, .all_argv = argv};
    log_init(program->name, LOG_LEVEL_INFO);
    prepare_for_limits();
    if (!speaks())
        log_divert(log_drop, NULL);
    enum vd_err err = find_command(&r, argc, argv);
    if (err == VD_OK) {
        add_tables(&r);
        err = run(&r);
    }
    err = finish(err);
    options_clear(&r.set);
    free(r.options);
    free(r.words.words);
    return err_exit_code(err);
}
