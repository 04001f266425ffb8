/* cli: output and exit codes of vocdist, and a second program that uses the
 * same front end, as vocpack does. */
#include "check.h"

#include "base/alloc.h"
#include "base/file.h"
#include "cli/program.h"

#include <sys/wait.h>
#include <unistd.h>

struct result {
    int status;
    char text[65536];
};

/* Runs `vocdist ARGUMENTS` in `folder`. `text` gets its standard output, and
 * standard error if ARGUMENTS redirect it (2>&1). */
static void run_in(struct result *r, const char *folder, const char *arguments)
{
    char *command = xasprintf("cd '%s' && %s %s", folder, VOCDIST, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(r->text, 1, sizeof r->text - 1, pipe);
    r->text[n] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    r->status = WEXITSTATUS(status);
    free(command);
}

#define assert_run(folder, arguments, code, part)                          \
    do {                                                                   \
        struct result r_;                                                  \
        run_in(&r_, (folder), (arguments));                                \
        if (r_.status != (code) || !strstr(r_.text, (part)))               \
            fail_msg("vocdist %s: exit %d, expected %d and \"%s\" in: %s", \
                     (arguments), r_.status, (code), (part), r_.text);     \
    } while (0)

static int set_up(void **state)
{
    *state = check_folder();
    return 0;
}

static int tear_down(void **state)
{
    check_folder_remove(*state);
    return 0;
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char *path = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void help_and_version_go_to_stdout(void **state)
{
    const char *folder = *state;
    assert_run(folder, "--help 2>/dev/null", 0, "Usage: vocdist [train]");
    assert_run(folder, "-h 2>/dev/null", 0, "--optim.lr X");
    assert_run(folder, "train --help 2>/dev/null", 0, "--print-config");
    assert_run(folder, "info --help 2>/dev/null", 0, "Usage: vocdist info");
    assert_run(folder, "--version 2>/dev/null", 0, "vocdist 0.");
    assert_run(folder, "info 2>/dev/null", 0, "libyaml 0.");
    // --help works with a broken config too.
    write_file(folder, "vocdist.yaml", "nonsense: 1\n");
    assert_run(folder, "--help 2>/dev/null", 0, "Usage: vocdist [train]");
}

static void usage_errors_exit_64(void **state)
{
    const char *folder = *state;
    assert_run(folder, "inof 2>&1", 64, "did you mean 'info'?");
    assert_run(folder, "elephant 2>&1", 64, "vocdist --help lists them");
    assert_run(folder, "--optim.lrr 1 2>&1", 64, "did you mean --optim.lr?");
    assert_run(folder, "--optim.lr 3x0 2>&1", 64,
               "error: command line: optim.lr: '3x0' is not a number\n"
               "  ---> give a number from 0 to 100");
    assert_run(folder, "--seed.x info 2>&1", 64, "unknown option --seed.x");
    assert_run(folder, "--optim.lr 1 info 2>&1", 64,
               "put the subcommand first: vocdist info");
    assert_run(folder, "info --optim.lr 1 2>&1", 64,
               "unknown option --optim.lr");
    assert_run(folder, "info extra 2>&1", 64, "unexpected 'extra'");
    assert_run(folder, "--optim.lr 3x0 2>/dev/null | wc -c", 0, "0");
}

static void config_errors_exit_78(void **state)
{
    const char *folder = *state;
    write_file(folder, "a.yaml", "optim:\n  lr: 1e-2\n  lrr: 1\n");
    assert_run(folder, "-c a.yaml 2>&1", 78,
               "error: a.yaml:3: unknown key 'optim.lrr'\n"
               "  ---> did you mean 'optim.lr'?");
    assert_run(folder, "-c none.yaml 2>&1", 66, "none.yaml: No such file");
    assert_run(folder, "--model.freeze stem 2>&1", 78, "--model.weights FILE");
}

static void origins_follow_the_precedence(void **state)
{
    const char *folder = *state;
    write_file(folder, "a.yaml", "optim: {lr: 1e-2, eps: 1e-7}\n");
    write_file(folder, "b.yaml", "optim: {lr: 2e-2}\n");
    setenv("VOCDIST_TRAIN_SEED", "3", 1);
    struct result r;
    run_in(&r, folder,
           "--print-config --train.epochs=2 -c a.yaml --config b.yaml");
    unsetenv("VOCDIST_TRAIN_SEED");
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.text, "  lr: 0.02                              "
                                   "# b.yaml:1\n"));
    assert_non_null(strstr(r.text, "# a.yaml:1\n"));
    assert_non_null(strstr(r.text, "  seed: 3                               "
                                   "# environment VOCDIST_TRAIN_SEED\n"));
    assert_non_null(strstr(r.text, "  epochs: 2                             "
                                   "# command line\n"));
    assert_non_null(strstr(r.text, "  name: a "));
    // The printed config gives the same settings.
    write_file(folder, "again.yaml", r.text);
    assert_run(folder,
               "-c again.yaml --print-config | cut -d'#' -f1 > 1 &&"
               "cut -d'#' -f1 again.yaml | diff - 1",
               0, "");
}

static void vocdist_yaml_in_the_folder_is_read(void **state)
{
    const char *folder = *state;
    assert_run(folder, "--print-config", 0, "seed: 1 ");
    write_file(folder, "vocdist.yaml", "train: {seed: 11}\n");
    write_file(folder, "other.yaml", "optim: {lr: 1}\n");
    assert_run(folder, "--print-config", 0, "# vocdist.yaml:1");
    assert_run(folder, "-c other.yaml --print-config", 0, "seed: 1 ");
}

static void missing_data_gives_the_pack_command(void **state)
{
    const char *folder = *state;
    static const char *const calls[] = {"", "train", "--log.level error"};
    for (int k = 0; k < 3; k++) {
        char *arguments = xasprintf("%s 2>&1", calls[k]);
        assert_run(folder, arguments, 66,
                   "error: data/train: no such folder\n"
                   "  ---> make the shards of both sets with: "
                   "vocpack pack VOCROOT --split train,val -o data;");
        free(arguments);
    }
    // ... and creates no files
    assert_run(folder, "2>/dev/null; ls | wc -l", 0, "0");
}

static void a_failed_write_to_stdout_is_an_error(void **state)
{
    const char *folder = *state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_run(folder, "--help 2>&1 >/dev/full", 74, "standard output: No");
    assert_run(folder, "info 2>&1 >/dev/full", 74, "standard output: No");
}

/* ---- a second program --------------------------------------------------- */

struct pack {
    char *out;
};
static const struct option pack_rows[] = {
    {.key = "out",
     .type = OPTION_TEXT,
     .offset = offsetof(struct pack, out),
     .default_text = "",
     .help = "output folder",
     .letter = 'o'},
};
static const struct option_table pack_table = {
    .name = "pack", .rows = pack_rows, .n = 1};

static char
    last_call[256]; /* arguments of the last run; commands have no context */

static enum vd_err pack_run(struct command_call *call)
{
    const struct pack *options = call->options;
    snprintf(last_call, sizeof last_call, "pack %d %s %s", call->n_positionals,
             call->n_positionals ? call->positionals[0] : "", options->out);
    assert_null(call->config);
    return VD_OK;
}

static enum vd_err check_run(struct command_call *call)
{
    snprintf(last_call, sizeof last_call, "check %d", call->n_positionals);
    return VD_DATA;
}

static const struct command commands[] = {
    {.name = "pack",
     .summary = "p",
     .usage = "ROOT...",
     .table = &pack_table,
     .options_size = sizeof(struct pack),
     .takes_positionals = true,
     .run = pack_run},
    {.name = "check",
     .summary = "c",
     .usage = "ROOT...",
     .takes_positionals = true,
     .run = check_run},
};
static const struct program packer = {"packer", "packs", commands, 2};

#define RUN(...)                                                       \
    program_main(                                                      \
        &packer,                                                       \
        (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
        (char **)(const char *[]){__VA_ARGS__, NULL})

static void a_second_program_shares_the_cli(void **state)
{
    (void)state;
    struct check_log log;
    assert_int_equal(RUN("packer", "/no/such/VOC", "-o", "x"), 0);
    assert_string_equal(last_call, "pack 1 /no/such/VOC x");
    assert_int_equal(RUN("packer"), 0);
    assert_string_equal(last_call, "pack 0  ");
    assert_int_equal(RUN("packer", "pack", "check"), 0);
    assert_string_equal(last_call, "pack 1 check ");
    assert_int_equal(RUN("packer", "check", "a", "b"), 65);
    assert_string_equal(last_call, "check 2");
    check_log_start(&log);
    assert_int_equal(RUN("packer", "chekc", "a"), 64);
    assert_int_equal(RUN("packer", "check", "--out", "a"), 64);
    assert_int_equal(RUN("packer", "--optim.lr", "1"), 64);
    check_log_end();
    assert_logged(&log, "did you mean 'check'?");
    assert_logged(&log, "unknown option --out");
    assert_logged(&log, "unknown option --optim.lr");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(help_and_version_go_to_stdout),
        TEST(usage_errors_exit_64),
        TEST(config_errors_exit_78),
        TEST(origins_follow_the_precedence),
        TEST(vocdist_yaml_in_the_folder_is_read),
        TEST(missing_data_gives_the_pack_command),
        TEST(a_failed_write_to_stdout_is_an_error),
        TEST(a_second_program_shares_the_cli),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
