/* config: consistency of the table, rules between keys, digests, and which
 * settings a resumed run may change. */
#include "check.h"

#include "base/alloc.h"
#include "config/config.h"
#include "config/option_internal.h"

struct fixture {
    struct option_set set;
    struct config config;
    struct check_log log;
};

static void start(struct fixture *f)
{
    options_init(&f->set);
    options_add(&f->set, &config_table, &f->config);
    check_log_start(&f->log);
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    start(*state);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    check_log_end();
    options_clear(&f->set);
    free(f);
    return 0;
}

/* Back to the defaults. */
static void reset(struct fixture *f)
{
    options_clear(&f->set);
    start(f);
}

static void set(struct fixture *f, const char *key, const char *text)
{
    assert_int_equal(options_set(&f->set, key, text, "command line"), VD_OK);
}

static void yaml(struct fixture *f, const char *text)
{
    assert_int_equal(
        options_read_yaml_text(&f->set, "a.yaml", text, strlen(text)), VD_OK);
}

/* ---- the table --------------------------------------------------------- */

static void option_and_variable_names_are_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_table.n; i++)
        for (size_t j = 0; j < i; j++) {
            char *a = option_env_name(config_table.rows[i].key);
            char *b = option_env_name(config_table.rows[j].key);
            assert_string_not_equal(a, b);
            assert_string_not_equal(config_table.rows[i].key,
                                    config_table.rows[j].key);
            assert_string_not_equal(a, "VOCDIST_TEST_DATA");
            assert_string_not_equal(a, "VOCDIST_FAULT");
            assert_string_not_equal(a, "VOCDIST_LAUNCHER");
            free(a);
            free(b);
        }
}

static void no_key_is_both_leaf_and_section(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_table.n; i++) {
        const char *key = config_table.rows[i].key;
        size_t n = strlen(key);
        for (size_t j = 0; j < config_table.n; j++) {
            const char *other = config_table.rows[j].key;
            assert_false(!strncmp(key, other, n) && other[n] == '.');
        }
    }
}

/* Else a written config would contain a section twice, which is an error. */
static void rows_of_a_section_are_adjacent(void **state)
{
    struct fixture *f = *state;
    struct text out = {0};
    options_format_yaml(&f->set, true, &out);
    yaml(f, out.bytes);
    free(out.bytes);
}

static void every_row_has_help_and_a_valid_default(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < config_table.n; i++) {
        const struct option *o = &config_table.rows[i];
        assert_true(strlen(o->help) > 5);
        assert_int_equal(options_set(&f->set, o->key, o->default_text, "test"),
                         VD_OK);
        if (o->type == OPTION_CHOICE)
            assert_non_null(strstr(o->choices, o->default_text));
        if (o->type == OPTION_INT || o->type == OPTION_REAL)
            assert_true(o->min < o->max);
    }
}

/* Two rows must not write to the same field. */
static void every_row_has_its_own_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_table.n; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(config_table.rows[i].offset,
                                 config_table.rows[j].offset);
}

/* The words in the table have the order of the enums in the header. */
static void choices_match_their_enums(void **state)
{
    struct fixture *f = *state;
    set(f, "model.freeze", "backbone");
    assert_int_equal(f->config.model.freeze, FREEZE_BACKBONE);
    set(f, "model.freeze", "stem");
    assert_int_equal(f->config.model.freeze, FREEZE_STEM);
    set(f, "model.freeze_bn", "eval");
    assert_int_equal(f->config.model.freeze_bn, FREEZE_BN_EVAL);
    set(f, "data.normalize", "imagenet");
    assert_int_equal(f->config.data.normalize, NORMALIZE_IMAGENET);
    set(f, "loss.weights", "balanced");
    assert_int_equal(f->config.loss.weights, LOSS_WEIGHTS_BALANCED);
    set(f, "optim.schedule", "cosine");
    assert_int_equal(f->config.optim.schedule, SCHEDULE_COSINE);
    set(f, "optim.lr_scale", "linear");
    assert_int_equal(f->config.optim.lr_scale, LR_SCALE_LINEAR);
    set(f, "train.precision", "fp16");
    assert_int_equal(f->config.train.precision, PRECISION_FP16);
    set(f, "backend", "ref");
    assert_int_equal(f->config.backend, BACKEND_REF);
    set(f, "exchange.name", "nccl");
    assert_int_equal(f->config.exchange.name, EXCHANGE_NCCL);
    set(f, "exchange.order", "fast");
    assert_int_equal(f->config.exchange.order, ORDER_FAST);
    set(f, "exchange.bucket", "0.5");
    assert_true(f->config.exchange.bucket == 0.5);
    set(f, "log.level", "debug");
    assert_int_equal(f->config.log.level, LOG_LEVEL_DEBUG);
}

static void the_recipe_file_equals_the_defaults(void **state)
{
    struct fixture *f = *state;
    uint64_t defaults = config_digest(&f->set, CONFIG_CLASSES_ALL);
    assert_int_equal(options_read_yaml(&f->set, RECIPE), VD_OK);
    assert_true(options_is_set(&f->set, "augment.rotate"));
    assert_true(options_is_set(&f->set, "train.global_batch"));
    assert_true(config_digest(&f->set, CONFIG_CLASSES_ALL) == defaults);
    assert_int_equal(config_check(&f->set, RECIPE), VD_OK);
    assert_string_equal(f->config.train.name, "voc2007");
}

/* tests/oracle/torch_trainer.py has the same values for PyTorch. */
static void the_recipe_has_the_published_hyperparameters(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(options_read_yaml(&f->set, RECIPE), VD_OK);
    static const struct {
        const char *key, *text;
    } expected[] = {
        {"data.normalize", "none"},   {"model.freeze", "auto"},
        {"model.freeze_bn", "train"}, {"model.head_dropout", "0.5"},
        {"model.width", "64"},        {"model.blocks", "[3,4,6,3]"},
        {"loss.box_scale", "1"},      {"loss.class_scale", "25"},
        {"optim.name", "adam"},       {"optim.lr", "0.001"},
        {"train.epochs", "5"},        {"train.global_batch", "64"},
        {"augment.enable", "true"},   {"augment.flip", "0.5"},
        {"augment.rotate", "10"},     {"augment.brightness", "0.1"},
        {"augment.contrast", "0.1"},  {"augment.saturation", "0.1"},
        {"augment.hue", "0.1"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct text text = {0};
        options_format(&f->set, expected[i].key, &text);
        assert_string_equal(text.bytes, expected[i].text);
        free(text.bytes);
    }
}

static void fine_tuning_is_the_recipe_with_a_trained_backbone(void **state)
{
    struct fixture *f = *state;
    set(f, "model.freeze", "none");
    set(f, "optim.backbone_lr_mult", "0.1");
    set(f, "train.epochs", "4");
    uint64_t expected = config_digest(&f->set, CONFIG_CLASSES_ALL);
    reset(f);
    assert_int_equal(options_read_yaml(&f->set, FINETUNE), VD_OK);
    assert_true(config_digest(&f->set, CONFIG_CLASSES_ALL) == expected);
    assert_int_equal(config_check(&f->set, FINETUNE), VD_OK);
    assert_string_equal(f->config.train.name, "voc2007-finetune");
}

/* ---- rules ------------------------------------------------------------- */

#define assert_check_fails(f, part)                                 \
    do {                                                            \
        assert_int_equal(config_check(&(f)->set, NULL), VD_CONFIG); \
        assert_logged(&(f)->log, (part));                           \
        reset(f);                                                   \
    } while (0)

static void contradictions_are_rejected_with_a_remedy(void **state)
{
    struct fixture *f = *state;
    set(f, "model.freeze", "stem");
    assert_check_fails(f,
                       "command line: model.freeze: stem would freeze random "
                       "weights\ngive pretrained weights with "
                       "--model.weights");
    set(f, "model.width", "12");
    assert_check_fails(f, "12 is not a multiple of 8");
    set(f, "model.blocks", "1,1,1");
    assert_check_fails(f, "model.blocks: 3 values, expected 4\ngive one");
    set(f, "optim.schedule", "step");
    assert_check_fails(f, "step needs optim.milestones");
    set(f, "optim.milestones", "10");
    assert_check_fails(f, "only optim.schedule step uses them");
    set(f, "optim.schedule", "step");
    set(f, "optim.milestones", "10,20,20");
    assert_check_fails(f, "20 comes after 20\ngive step numbers in");
    static const char *const bad_names[] = {"a/b", "..", ".hidden", "a\nb"};
    for (size_t i = 0; i < 4; i++) {
        set(f, "train.name", bad_names[i]);
        assert_check_fails(f, "is not a valid folder name");
    }
    set(f, "train.dir", "");
    assert_check_fails(f, "train.dir is empty");
    set(f, "data.train", "");
    assert_check_fails(f, "data.train is empty");
    set(f, "tune", "");
    assert_check_fails(f, "tune is empty");
}

static void unsupported_settings_are_rejected(void **state)
{
    struct fixture *f = *state;
    set(f, "exchange.order", "fast");
    assert_int_equal(config_check(&f->set, NULL), VD_UNSUPPORTED);
    assert_logged(&f->log, "exchange.order");
}

static void valid_configs_pass(void **state)
{
    struct fixture *f = *state;
    set(f, "model.freeze", "stem");
    set(f, "model.weights", "a.pth");
    set(f, "model.width", "8");
    set(f, "model.blocks", "1,1,1,1");
    set(f, "optim.schedule", "step");
    set(f, "optim.milestones", "10,20");
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_string_equal(f->config.train.name, "default");
    assert_string_equal(f->log.text, "");
    reset(f);
    set(f, "model.freeze", "none");
    assert_int_equal(config_check(&f->set, "runs/x.y/a.b.yaml"), VD_OK);
    assert_string_equal(f->config.train.name, "a.b");
    reset(f);
    set(f, "train.name", "mine");
    assert_int_equal(config_check(&f->set, "a.yaml"), VD_OK);
    assert_string_equal(f->config.train.name, "mine");
}

static void one_of_the_batch_sizes_is_used(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_int_equal(f->config.train.global_batch, 64);
    assert_int_equal(f->config.train.micro_batch, CONFIG_AUTO);

    set(f, "train.micro_batch", "8"); // overrides the built-in 64
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_int_equal(f->config.train.global_batch, CONFIG_AUTO);
    assert_int_equal(f->config.train.micro_batch, 8);
    reset(f);
    yaml(f, "train: {global_batch: 32}\n");
    set(f, "train.micro_batch", "8"); // overrides a file
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_int_equal(f->config.train.global_batch, CONFIG_AUTO);
    reset(f);
    yaml(f, "train: {micro_batch: 8}\n");
    set(f, "train.global_batch", "32");
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_int_equal(f->config.train.micro_batch, CONFIG_AUTO);
    assert_int_equal(f->config.train.global_batch, 32);
    reset(f);
    yaml(f, "train: {global_batch: 32, micro_batch: 8}\n");
    assert_check_fails(f, "both train.global_batch 32 (a.yaml:1) and "
                          "train.micro_batch 8 (a.yaml:1)");
    yaml(f, "train: {global_batch: 32, micro_batch: 8, replicas: 4}\n");
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_int_equal(f->config.train.global_batch, 32);
    assert_int_equal(f->config.train.micro_batch, 8);
    reset(f);
    set(f, "train.global_batch", "auto");
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    assert_int_equal(f->config.train.global_batch, 64);
}

/* ---- digest ------------------------------------------------------------ */

static void digests_depend_on_values_of_their_classes_only(void **state)
{
    struct fixture *f = *state;
    const unsigned identity = CONFIG_CLASS(OPTION_IDENTITY);
    uint64_t first = config_digest(&f->set, identity);
    uint64_t all = config_digest(&f->set, CONFIG_CLASSES_ALL);
    set(f, "optim.lr", "0.001"); // the default, spelled differently
    set(f, "checkpoint.every", "7");
    set(f, "train.epochs", "9");
    set(f, "backend", "ref");
    assert_true(config_digest(&f->set, identity) == first);
    assert_true(config_digest(&f->set, CONFIG_CLASSES_ALL) != all);
    set(f, "train.seed", "2");
    assert_true(config_digest(&f->set, identity) != first);
}

/* ---- resume ------------------------------------------------------------ */

#define SAVED                                                      \
    "optim: {lr: 0.01, schedule_steps: 100}\n"                     \
    "train: {epochs: 5, seed: 7, replicas: 4, global_batch: 32,\n" \
    "        micro_batch: 8}\n"                                    \
    "model: {weights: a.safetensors, freeze: backbone}\n"          \
    "cpu: {threads: 2}\ntune: 'off'\nbackend: cpu\n"               \
    "checkpoint: {every: 50}\n"

static enum vd_err resume(struct fixture *f)
{
    assert_int_equal(config_check(&f->set, NULL), VD_OK);
    return config_resume(&f->set, "runs/a/config.yaml", SAVED, strlen(SAVED),
                         "start a new run");
}

static void unset_and_auto_keys_take_the_saved_value(void **state)
{
    struct fixture *f = *state;
    set(f, "cpu.threads", "auto");
    set(f, "tune", "auto");
    set(f, "optim.lr", "1e-2");
    assert_int_equal(resume(f), VD_OK);
    assert_int_equal(f->config.cpu.threads, 2);
    assert_string_equal(f->config.tune, "off");
    assert_int_equal(f->config.train.seed, 7);
    assert_int_equal(f->config.train.replicas, 4);
    assert_int_equal(f->config.train.global_batch, 32);
    assert_int_equal(f->config.train.micro_batch, 8);
    assert_int_equal(f->config.optim.schedule_steps, 100);
    assert_int_equal(f->config.model.freeze, FREEZE_BACKBONE);
    assert_int_equal(f->config.backend, BACKEND_CPU);
    assert_string_equal(options_origin(&f->set, "train.seed"),
                        "runs/a/config.yaml:2");
    // Free keys keep the values of this start.
    assert_int_equal(f->config.checkpoint.every, 0);
    // The run's initial weights are known.
    assert_string_equal(f->config.model.weights, "a.safetensors");
}

static void plans_are_not_compared_by_their_paths(void **state)
{
    struct fixture *f = *state;
    static const char saved[] = "tune: runs/a/plan.json\n";
    static const struct {
        const char *given, *resumed; /* NULL: not given; a conflict */
    } cases[] = {{NULL, "runs/a/plan.json"},
                 {"auto", "runs/a/plan.json"},
                 {"on", "on"},
                 {"b/plan.json", "b/plan.json"},
                 {"off", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].given)
            set(f, "tune", cases[i].given);
        enum vd_err err = config_resume(&f->set, "a", saved, strlen(saved), "");
        assert_int_equal(err, cases[i].resumed ? VD_OK : VD_CONFIG);
        if (cases[i].resumed)
            assert_string_equal(f->config.tune, cases[i].resumed);
        reset(f);
    }
    set(f, "tune", "on");
    assert_int_equal(resume(f), VD_CONFIG); /* SAVED has off */
    assert_logged(&f->log, "tune: on here (command line), off in the run");
}

static void all_changed_identity_keys_are_listed(void **state)
{
    struct fixture *f = *state;
    set(f, "optim.lr", "0.02");
    set(f, "train.seed", "8");
    set(f, "train.global_batch", "64");
    assert_int_equal(resume(f), VD_CONFIG);
    assert_logged(&f->log,
                  "optim.lr: 0.02 here (command line), 0.01 in the run");
    assert_logged(&f->log, "train.seed: 8 here (command line), 7 in the run");
    assert_logged(&f->log, "train.global_batch: 64 here");
    assert_logged(&f->log, "leave these keys out to resume, or start a "
                           "new run");
    assert_int_equal(f->config.train.replicas, CONFIG_AUTO); // unchanged
}

static void extents_may_grow_but_not_shrink(void **state)
{
    struct fixture *f = *state;
    set(f, "train.epochs", "9");
    set(f, "optim.schedule_steps", "200");
    assert_int_equal(resume(f), VD_OK);
    assert_int_equal(f->config.train.epochs, 9);
    assert_int_equal(f->config.optim.schedule_steps, 200);
    reset(f);
    set(f, "train.epochs", "4");
    assert_int_equal(resume(f), VD_CONFIG);
    assert_logged(&f->log, "train.epochs: 4 here (command line), 5 in the run, "
                           "which may only grow");
}

/* train.patience 0 is off, so it is the largest value. */
static void an_extent_of_0_is_unlimited(void **state)
{
    static const struct {
        const char *saved, *now;
        enum vd_err err;
    } cases[] = {{"3", "3", VD_OK},     {"3", "4", VD_OK},
                 {"3", "0", VD_OK},     {"0", "0", VD_OK},
                 {"3", "2", VD_CONFIG}, {"0", "9", VD_CONFIG}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[64];
        int n = snprintf(yaml, sizeof yaml, "train: {patience: %s}",
                         cases[i].saved);
        set(f, "train.patience", cases[i].now);
        assert_int_equal(config_resume(&f->set, "a", yaml, (size_t)n, ""),
                         cases[i].err);
        if (cases[i].err != VD_OK)
            assert_logged(&f->log, "which may only grow (0: no limit)");
        reset(f);
    }
    /* Runs saved before train.patience existed have none. */
    assert_int_equal(resume(f), VD_OK);
    assert_int_equal(f->config.train.patience, 0);
}

static void a_different_backend_gives_a_warning(void **state)
{
    struct fixture *f = *state;
    set(f, "backend", "ref");
    assert_int_equal(resume(f), VD_OK);
    assert_logged(&f->log, "backend ref instead of cpu");
    assert_int_equal(f->config.backend, BACKEND_REF);
}

static void config_diff_lists_old_new_and_origin(void **state)
{
    struct fixture *f = *state;
    struct text changes = {0};
    set(f, "train.epochs", "9");
    set(f, "backend", "ref");
    set(f, "data.val", "");
    assert_int_equal(resume(f), VD_OK);
    assert_int_equal(config_diff(&f->set, "a", SAVED, strlen(SAVED), &changes),
                     VD_OK);
    /* In the table's order; config_check() set the empty train.name. */
    assert_string_equal(changes.bytes,
                        "data.val: data/val -> none (command line)\n"
                        "train.epochs: 5 -> 9 (command line)\n"
                        "train.name: none -> default (default)\n"
                        "backend: cpu -> ref (command line)\n"
                        "checkpoint.every: 50 -> 0 (default)\n");
    free(changes.bytes);
}

static void config_diff_is_empty_without_changes(void **state)
{
    struct fixture *f = *state;
    struct text yaml = {0}, changes = {0};
    set(f, "eval.every", "3");
    options_format_yaml(&f->set, false, &yaml);
    assert_int_equal(
        config_diff(&f->set, "a", yaml.bytes, yaml.length, &changes), VD_OK);
    assert_null(changes.bytes);
    free(yaml.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(option_and_variable_names_are_unique),
        TEST(no_key_is_both_leaf_and_section),
        TEST(rows_of_a_section_are_adjacent),
        TEST(every_row_has_help_and_a_valid_default),
        TEST(every_row_has_its_own_field),
        TEST(choices_match_their_enums),
        TEST(the_recipe_file_equals_the_defaults),
        TEST(the_recipe_has_the_published_hyperparameters),
        TEST(fine_tuning_is_the_recipe_with_a_trained_backbone),
        TEST(contradictions_are_rejected_with_a_remedy),
        TEST(unsupported_settings_are_rejected),
        TEST(valid_configs_pass),
        TEST(one_of_the_batch_sizes_is_used),
        TEST(digests_depend_on_values_of_their_classes_only),
        TEST(unset_and_auto_keys_take_the_saved_value),
        TEST(plans_are_not_compared_by_their_paths),
        TEST(all_changed_identity_keys_are_listed),
        TEST(extents_may_grow_but_not_shrink),
        TEST(an_extent_of_0_is_unlimited),
        TEST(a_different_backend_gives_a_warning),
        TEST(config_diff_lists_old_new_and_origin),
        TEST(config_diff_is_empty_without_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
