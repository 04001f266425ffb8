/* config/option: options from YAML, environment and arguments, error messages,
 * and the round trip of values through written YAML. */
#include "check.h"

#include "base/alloc.h"
#include "config/option.h"

struct sample {
    bool loud;
    int64_t count, threads;
    double rate;
    char *name;
    int mode;
    struct option_ints blocks;
};

static const struct option rows[] = {
    {.key = "loud",
     .type = OPTION_BOOL,
     .offset = offsetof(struct sample, loud),
     .default_text = "false",
     .help = "log more"},
    {.key = "run.count",
     .type = OPTION_INT,
     .offset = offsetof(struct sample, count),
     .default_text = "3",
     .help = "how many",
     .min = -10,
     .max = 10,
     .letter = 'n'},
    {.key = "run.threads",
     .type = OPTION_INT,
     .offset = offsetof(struct sample, threads),
     .default_text = "auto",
     .help = "threads",
     .min = 1,
     .max = 64,
     .is_auto = true},
    {.key = "run.rate",
     .type = OPTION_REAL,
     .offset = offsetof(struct sample, rate),
     .default_text = "1e-3",
     .help = "rate"},
    {.key = "run.name",
     .type = OPTION_TEXT,
     .offset = offsetof(struct sample, name),
     .default_text = "",
     .help = "name",
     .letter = 'o'},
    {.key = "run.mode",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct sample, mode),
     .default_text = "none",
     .help = "mode",
     .choices = "none|sqrt|linear"},
    {.key = "run.blocks",
     .type = OPTION_INTS,
     .offset = offsetof(struct sample, blocks),
     .default_text = "3,4,6,3",
     .help = "blocks",
     .min = 1,
     .max = 100},
};
static const struct option_table table = {"sample", rows,
                                          sizeof rows / sizeof *rows, true};

struct plain {
    char *picture;
};
static const struct option plain_rows[] = {
    {.key = "picture",
     .type = OPTION_TEXT,
     .offset = offsetof(struct plain, picture),
     .default_text = "",
     .help = "picture"},
};
static const struct option_table plain_table = {"plain", plain_rows, 1, false};

struct fixture {
    struct option_set set;
    struct sample values;
    struct plain plain;
    struct option_args words;
    struct check_log log;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    options_init(&f->set);
    options_add(&f->set, &table, &f->values);
    options_add(&f->set, &plain_table, &f->plain);
    check_log_start(&f->log);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    check_log_end();
    options_clear(&f->set);
    free(f->words.args);
    free(f);
    return 0;
}

static enum vd_err yaml(struct fixture *f, const char *text)
{
    return options_read_yaml_text(&f->set, "a.yaml", text, strlen(text));
}

#define ARGUMENTS(f, ...)                                  \
    arguments((f), (char **)(const char *[]){__VA_ARGS__}, \
              (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))
static enum vd_err arguments(struct fixture *f, char **argv, int argc)
{
    free(f->words.args);
    f->words = (struct option_args){0};
    return options_read_arguments(&f->set, argc, argv, &f->words);
}

/* Clears the captured log. */
static void clear_log(struct fixture *f)
{
    f->log.text[0] = '\0';
    f->log.length = 0;
}

#define assert_rejects(f, code, call, part) \
    do {                                    \
        clear_log(f);                       \
        assert_int_equal((call), (code));   \
        assert_logged(&(f)->log, (part));   \
    } while (0)

static void defaults_come_from_the_table(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->values.count, 3);
    assert_int_equal(f->values.threads, -1);
    assert_true(f->values.rate == 1e-3);
    assert_string_equal(f->values.name, "");
    assert_int_equal(f->values.blocks.n, 4);
    assert_int_equal(f->values.blocks.values[2], 6);
    assert_false(options_is_set(&f->set, "run.rate"));
    assert_string_equal(options_origin(&f->set, "run.rate"), "default");
}

static void later_origins_win_and_are_remembered(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(yaml(f, "run:\n  count: 4\n  rate: 0.5\n  name: a\n"),
                     VD_OK);
    setenv("VOCDIST_RUN_RATE", "0.25", 1);
    setenv("VOCDIST_RUN_NAME", "b", 1);
    enum vd_err err = options_read_environment(&f->set);
    unsetenv("VOCDIST_RUN_RATE");
    unsetenv("VOCDIST_RUN_NAME");
    assert_int_equal(err, VD_OK);
    assert_int_equal(ARGUMENTS(f, "--run.name", "c"), VD_OK);

    assert_int_equal(f->values.count, 4);
    assert_true(f->values.rate == 0.25);
    assert_string_equal(f->values.name, "c");
    assert_string_equal(options_origin(&f->set, "run.count"), "a.yaml:2");
    assert_string_equal(options_origin(&f->set, "run.rate"),
                        "environment VOCDIST_RUN_RATE");
    assert_string_equal(options_origin(&f->set, "run.name"), "command line");
}

static void arguments_are_parsed_in_all_forms(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ARGUMENTS(f, "--run.rate=1e-2", "--run.count", "-5",
                               "--loud", "in.jpg", "-o", "out", "-", "--",
                               "--not-an-option", "--"),
                     VD_OK);
    assert_true(f->values.rate == 1e-2);
    assert_int_equal(f->values.count, -5);
    assert_true(f->values.loud);
    assert_string_equal(f->values.name, "out");
    assert_int_equal(f->words.n, 4);
    assert_string_equal(f->words.args[0], "in.jpg");
    assert_string_equal(f->words.args[1], "-");
    assert_string_equal(f->words.args[2], "--not-an-option");
    assert_string_equal(f->words.args[3], "--");

    assert_int_equal(ARGUMENTS(f, "-n4", "--loud", "false", "--run.name="),
                     VD_OK);
    assert_int_equal(f->values.count, 4);
    assert_false(f->values.loud);
    assert_string_equal(f->values.name, "");
    assert_int_equal(f->words.n, 0);
    assert_int_equal(ARGUMENTS(f, "-n", "-3", "--loud", "a"), VD_OK);
    assert_int_equal(f->values.count, -3);
    assert_int_equal(f->words.n, 1);
}

static void bad_arguments_are_usage_errors(void **state)
{
    struct fixture *f = *state;
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.count", "3x0"),
                   "command line: run.count: '3x0' is not a whole number\n"
                   "give a whole number from -10 to 10");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.count", "11"),
                   "out of range");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.count="),
                   "'' is not a whole number");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.threads", "-1"), "or auto");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.mode", "cubic"),
                   "one of none|sqrt|linear");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.mode", "sqrt|linear"),
                   "not a known choice");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.blocks", "1,,2"),
                   "not a list of whole numbers");
    assert_rejects(f, VD_USAGE,
                   ARGUMENTS(f, "--run.blocks", "1,2,3,4,5,6,7,8,9"),
                   "at most 8");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.blocks", "0"),
                   "out of range");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.name"), "needs a value");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.name", "--loud"),
                   "needs a value");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--loud=maybe"),
                   "neither true nor false");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.rte", "1"),
                   "did you mean --run.rate?");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--rate", "1"),
                   "did you mean --run.rate?");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--zzzzzzzz"), "--help lists");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "-z"), "unknown option -z");
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.name", "\xff"),
                   "not valid UTF-8");
    assert_int_equal(f->values.count, 3);
    assert_false(options_is_set(&f->set, "run.count"));
}

static void arguments_can_be_collected_first(void **state)
{
    struct fixture *f = *state;
    const char *argv[] = {"-o", "a", "--run.rate", "-1", "-ob", "--run.name=-o",
                          "w"};
    struct option_args v;
    assert_int_equal(
        options_collect_arguments(&f->set, 7, (char **)argv, "run.name", &v),
        VD_OK);
    assert_int_equal(v.n, 3);
    assert_string_equal(v.args[0], "a");
    assert_string_equal(v.args[1], "b");
    assert_string_equal(v.args[2], "-o");
    free(v.args);
    assert_string_equal(f->values.name, "");
}

static void module_system_variables_are_ignored(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "VOCDIST_ROOT", "VOCDIST_HOME", "VOCDIST_DIR",  "VOCDIST_VERSION",
        "VOCDIST_LIB",  "VOCDIST_INC",  "VOCDIST_BASE", "VOCDIST_PREFIX"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], "/opt/vocdist", 1);
    assert_int_equal(options_read_environment(&f->set), VD_OK);
    log_set_level(LOG_LEVEL_DEBUG);
    options_log_environment();
    log_set_level(LOG_LEVEL_INFO);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_logged(&f->log, names[i]);
        unsetenv(names[i]);
    }
    setenv("VOCDIST_ROOTS", "1", 1);
    assert_rejects(f, VD_CONFIG, options_read_environment(&f->set),
                   "unknown variable VOCDIST_ROOTS");
    unsetenv("VOCDIST_ROOTS");
}

static void unknown_variables_are_errors(void **state)
{
    struct fixture *f = *state;
    setenv("VOCDIST_RUN_RAT", "1", 1);
    assert_rejects(f, VD_CONFIG, options_read_environment(&f->set),
                   "VOCDIST_RUN_RAT\ndid you mean VOCDIST_RUN_RATE?");
    unsetenv("VOCDIST_RUN_RAT");
    setenv("VOCDIST_PICTURE", "1", 1); // an option of the command line only
    assert_rejects(f, VD_CONFIG, options_read_environment(&f->set),
                   "unknown variable VOCDIST_PICTURE");
    unsetenv("VOCDIST_PICTURE");
    setenv("VOCDIST_RUN_COUNT", "x", 1);
    assert_rejects(f, VD_CONFIG, options_read_environment(&f->set),
                   "environment VOCDIST_RUN_COUNT: run.count: 'x'");
    unsetenv("VOCDIST_RUN_COUNT");
    setenv("VOCDIST_FAULT", "1", 1);
    assert_int_equal(options_read_environment(&f->set), VD_OK);
    unsetenv("VOCDIST_FAULT");
}

static void yaml_block_and_flow_styles_are_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(yaml(f, "# all of it\nloud: on\n"
                             "run: {count: -2, threads: 8, mode: 'linear',\n"
                             "      blocks: [1, 2, 1, 2], name: a b}\n"),
                     VD_OK);
    assert_true(f->values.loud);
    assert_int_equal(f->values.count, -2);
    assert_int_equal(f->values.mode, 2);
    assert_int_equal(f->values.blocks.n, 4);
    assert_int_equal(f->values.blocks.values[3], 2);
    assert_string_equal(f->values.name, "a b");
    assert_int_equal(yaml(f, "run:\n  blocks: 5,6\n  threads: auto\n"
                             "  name:\n"),
                     VD_OK);
    assert_int_equal(f->values.blocks.n, 2);
    assert_int_equal(f->values.threads, -1);
    assert_string_equal(f->values.name, "");
    assert_int_equal(yaml(f, ""), VD_OK);
    assert_int_equal(yaml(f, "# nothing\n"), VD_OK);
    assert_int_equal(yaml(f, "run:\n  name: 'null'\n"), VD_OK);
    assert_string_equal(f->values.name, "null");
}

static void bad_yaml_is_reported_with_its_line(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"run:\n  rte: 1\n", "a.yaml:2: unknown key 'run.rte'\ndid you mean "
                             "'run.rate'?"},
        {"rn:\n  rate: 1\n", "a.yaml:1: unknown key 'rn'\ndid you mean 'run'?"},
        {"picture: a.png\n", "a.yaml:1: unknown key 'picture'"},
        {"run:\n  rate: 3x0\n", "a.yaml:2: run.rate: '3x0' is not a number"},
        {"run:\n  rate: 1\n  rate: 2\n",
         "a.yaml:3: 'run.rate' is given twice, first in line 2"},
        {"run: {rate: 1}\nrun: {count: 2}\n", "a.yaml:2: 'run' is given twice"},
        {"run.rate: 1\nrun:\n  rate: 2\n", "a.yaml:3: 'run.rate' is given"},
        {"run: 3\n", "a.yaml:1: 'run' is a section, not a value"},
        {"run:\n  rate: {a: 1}\n", "a.yaml:2: 'run.rate' is a value, not a"},
        {"run:\n  rate: [1]\n", "a.yaml:2: 'run.rate' cannot be a list"},
        {"run: [1]\n", "a.yaml:1: 'run' cannot be a list"},
        {"run:\n  blocks: [1, [2]]\n", "a.yaml:2: 'run.blocks' must be a list"},
        {"run:\n  rate:\n", "'run.rate' has no value"},
        {"run: &a {rate: 1}\n", "a.yaml:1: anchors and aliases (a)"},
        {"run: *a\n", "a.yaml:1: anchors and aliases (a)"},
        {"run:\n  rate: !!float 1\n",
         "a.yaml:2: the tag tag:yaml.org,2002:flo"},
        {"loud: !x on\n", "a.yaml:1: the tag !x"},
        {"- run\n", "a.yaml:1: not a mapping"},
        {"run\n", "a.yaml:1: not a mapping"},
        {"{a: 1}: 2\n", "a.yaml:1: a key must be a word"},
        {"loud: on\n---\nloud: off\n", "a.yaml:2: a second document"},
        {"run:\n\trate: 1\n", "a.yaml:2: not valid YAML"},
        {"run: {rate: 1\n", "a.yaml:2: not valid YAML"},
        {"run: {name: \"a\\0b\"}\n", "a.yaml:1: a NUL character"},
        {"run: {name: \xff}\n", "a.yaml: byte 12: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_rejects(f, VD_CONFIG, yaml(f, cases[i].text), cases[i].message);
}

/* A long value is shortened, so that the remedy is not cut off. */
static void messages_are_short_and_on_one_line(void **state)
{
    struct fixture *f = *state;
    char endless[9000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    char *text = xasprintf("run: {rate: %s}\n", endless);
    assert_rejects(f, VD_CONFIG, yaml(f, text), "x...' is not a number\ngive");
    free(text);
    // libyaml accepts keys of up to 1024 bytes.
    text = xasprintf("%s: 1\n", endless + sizeof endless - 1000);
    assert_rejects(f, VD_CONFIG, yaml(f, text), "--help lists all keys");
    free(text);
    assert_rejects(f, VD_USAGE, ARGUMENTS(f, "--run.rate=1\n2"),
                   "'1?2' is not a number\ngive a number");
}

static void yaml_files_have_a_size_limit(void **state)
{
    struct fixture *f = *state;
    char *folder = check_folder();
    char *path = xasprintf("%s/big.yaml", folder);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < (1 << 20) / 16 + 1; i++)
        fputs("# 345678901234\n\n", file);
    fclose(file);
    assert_rejects(f, VD_DATA, options_read_yaml(&f->set, path), "big.yaml");
    assert_rejects(f, VD_NOINPUT, options_read_yaml(&f->set, "/no/such.yaml"),
                   "/no/such.yaml: No such file");
    free(path);
    check_folder_remove(folder);
}

/* libyaml scans ahead for a ':' after every bracket, which must not take long.
 */
static void deep_nesting_is_rejected_quickly(void **state)
{
    struct fixture *f = *state;
    size_t n = (size_t)1 << 20;
    char *deep = malloc(n);
    memset(deep, '[', n);
    assert_int_equal(options_read_yaml_text(&f->set, "deep", deep, n),
                     VD_CONFIG);
    for (size_t i = 0; i + 3 < n; i += 4)
        memcpy(deep + i, "{a: ", 4);
    assert_int_equal(options_read_yaml_text(&f->set, "deep", deep, n),
                     VD_CONFIG);
    free(deep);
}

static void written_yaml_reads_back_the_same(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "",
        "plain",
        "a: b",
        "a #b",
        "#b",
        " lead",
        "trail ",
        "yes",
        "null",
        "~",
        "1e3",
        "007",
        "-x",
        "?",
        "'",
        "\"",
        "\\n",
        "line\nbreak",
        "\ttab\r",
        "\x01\x1f\x7f",
        "caf\xc3\xa9",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
        "\xf0\x9f\x98\x80",
        "[1]",
        "{a}",
        "&a",
        "*a",
        "!t",
        "@",
        "`",
        "%a",
        "true",
        "a/b-c_d.e",
        "on",
        "auto",
        "- a",
        "a\\",
        "\xef\xbf\xbf",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct text out = {0};
        char *name = (char *)names[i];
        assert_int_equal(
            options_set(&f->set, "run.name", name, "odd\norigin: x"), VD_OK);
        options_format_yaml(&f->set, i % 2, &out);
        assert_int_equal(options_set(&f->set, "run.name", "other", "x"), VD_OK);
        assert_int_equal(yaml(f, out.bytes), VD_OK);
        assert_string_equal(f->values.name, names[i]);
        free(out.bytes);
    }
}

static void written_numbers_read_back_exactly(void **state)
{
    struct fixture *f = *state;
    static const double rates[] = {0.1, 1e-3, 1.0 / 3, 5e-324, 1e308, -2.5};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct text out = {0};
        f->values.rate = rates[i];
        options_format_yaml(&f->set, false, &out);
        f->values.rate = 0;
        assert_int_equal(yaml(f, out.bytes), VD_OK);
        assert_true(f->values.rate == rates[i]);
        free(out.bytes);
    }
    struct text out = {0};
    options_format(&f->set, "run.blocks", &out);
    assert_string_equal(out.bytes, "[3,4,6,3]");
    free(out.bytes);
}

static void help_names_every_option(void **state)
{
    struct fixture *f = *state;
    struct text out = {0};
    options_format_help(&f->set, &out);
    for (size_t i = 0; i < table.n; i++)
        assert_non_null(strstr(out.bytes, rows[i].key));
    assert_non_null(strstr(out.bytes, "-n, --run.count N"));
    assert_non_null(strstr(out.bytes, "none|sqrt|linear"));
    assert_non_null(strstr(out.bytes, "(1e-3)"));
    for (char *line = strtok(out.bytes, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 80);
    free(out.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_come_from_the_table),
        TEST(later_origins_win_and_are_remembered),
        TEST(arguments_are_parsed_in_all_forms),
        TEST(bad_arguments_are_usage_errors),
        TEST(arguments_can_be_collected_first),
        TEST(module_system_variables_are_ignored),
        TEST(unknown_variables_are_errors),
        TEST(yaml_block_and_flow_styles_are_read),
        TEST(bad_yaml_is_reported_with_its_line),
        TEST(messages_are_short_and_on_one_line),
        TEST(yaml_files_have_a_size_limit),
        TEST(deep_nesting_is_rejected_quickly),
        TEST(written_yaml_reads_back_the_same),
        TEST(written_numbers_read_back_exactly),
        TEST(help_names_every_option),
    };
    unsetenv("VOCDIST_TEST_DATA");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
