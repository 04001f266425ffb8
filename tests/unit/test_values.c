/* model/values: invalid values are found in every buffer, with the name of
 * their tensor; files with such values are neither loaded nor written. */
#include "check.h"

#include "base/alloc.h"
#include "model/init.h"
#include "model/resnet.h"
#include "model/values.h"
#include "model/weights.h"
#include "run/checkpoint.h"
#include "run/trained_model.h"

struct fixture {
    struct graph g;
    float *param, *m, *v, *stats;
    struct network_values values;
};

static void build_graph(struct graph *g, enum resnet_freeze freeze)
{
    struct resnet_spec spec = {
        .size = 32,
        .width = 8,
        .blocks = {1, 1, 1, 1},
        .freeze = freeze,
        .loss = {.classes = 2, .box_scale = 1, .class_scale = 25}};
    resnet_build(g, &spec);
}

static void fixture_start(struct fixture *x, enum resnet_freeze freeze)
{
    build_graph(&x->g, freeze);
    x->param = xcalloc(x->g.n_params, sizeof(float));
    x->m = xcalloc(x->g.n_trainable, sizeof(float));
    x->v = xcalloc(x->g.n_trainable, sizeof(float));
    x->stats = xcalloc(x->g.n_stats, sizeof(float));
    init_all(&x->g, 3, x->param, x->stats);
    x->values = (struct network_values){x->param, x->m, x->v, x->stats};
}

static void fixture_stop(struct fixture *x)
{
    free(x->param);
    free(x->m);
    free(x->v);
    free(x->stats);
    graph_clear(&x->g);
}

static size_t value_index(const struct fixture *x, const char *name)
{
    int param = graph_find_param(&x->g, name);
    return param >= 0 ? x->g.params[param].offset
                      : x->g.stats[graph_find_stats(&x->g, name)].offset;
}

/* Sets one value: it is found there. Restores it: nothing is found. */
static void expect_fault(struct fixture *x, float *buffer, const char *tensor,
                         size_t index, float value)
{
    struct invalid_value fault = {.tensor = ""};
    float *target = buffer + value_index(x, tensor) + index, kept = *target;
    *target = value;
    assert_true(values_find_invalid(&x->g, &x->values, &fault));
    assert_string_equal(fault.tensor, tensor);
    assert_int_equal(fault.index, index);
    *target = kept;
    assert_false(values_find_invalid(&x->g, &x->values, &fault));
}

static void every_buffer_is_checked(void **state)
{
    (void)state;
    struct fixture x;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    fixture_start(&x, RESNET_FREEZE_NONE);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        expect_fault(&x, x.param, "head.fc2.weight", 0, bad[k]);
        expect_fault(&x, x.param, "conv1.weight", 8 * 3 * 7 * 7 - 1, bad[k]);
        expect_fault(&x, x.m, "layer2.0.bn1.bias", 3, bad[k]);
        expect_fault(&x, x.v, "layer4.0.conv2.weight", 77, bad[k]);
        expect_fault(&x, x.stats, "bn1.running_mean", 7, bad[k]);
        expect_fault(&x, x.stats, "head.bn.running_var", 1, bad[k]);
    }
    fixture_stop(&x);
}

static void only_variances_must_not_be_negative(void **state)
{
    (void)state;
    struct fixture x;
    struct invalid_value fault;
    fixture_start(&x, RESNET_FREEZE_NONE);
    expect_fault(&x, x.stats, "bn1.running_var", 2, -1e-30f);
    expect_fault(&x, x.v, "head.fc1.bias", 2, -3);
    x.param[0] = x.m[0] = x.stats[value_index(&x, "bn1.running_mean")] = -3e38f;
    x.v[0] = x.stats[value_index(&x, "bn1.running_var")] = -0.0f;
    x.v[1] = x.stats[value_index(&x, "bn1.running_var") + 1] = 3e38f;
    assert_false(values_find_invalid(&x.g, &x.values, &fault));
    fixture_stop(&x);
}

/* Moment buffers have no frozen tensors, so they are shorter than params. */
static void frozen_tensors_have_no_moments(void **state)
{
    (void)state;
    struct fixture x;
    fixture_start(&x, RESNET_FREEZE_BACKBONE);
    assert_true(x.g.n_trainable < x.g.n_params);
    expect_fault(&x, x.v, "head.bn.weight", 0, NAN);
    expect_fault(&x, x.param, "conv1.weight", 5, NAN);
    x.values = (struct network_values){.stats = x.stats};
    x.param[0] = NAN; /* not checked: values.param is NULL */
    expect_fault(&x, x.stats, "bn1.running_var", 0, -1);
    fixture_stop(&x);
}

/* ---- files ---- */

static void weights_with_nan_are_not_written(void **state)
{
    (void)state;
    struct fixture x;
    struct check_log log;
    char cat[] = "cat", dog[] = "dog", *classes[] = {cat, dog};
    const struct weights_metadata facts = {.classes = classes,
                                           .n_classes = 2,
                                           .size = 32,
                                           .width = 8,
                                           .blocks = {1, 1, 1, 1},
                                           .std = {1, 1, 1}};
    char *folder = check_folder(), *path = xasprintf("%s/w", folder);
    fixture_start(&x, RESNET_FREEZE_NONE);
    float *wrong[] = {x.param + value_index(&x, "conv1.weight"),
                      x.stats + value_index(&x, "bn1.running_var")};
    for (int k = 0; k < 2; k++) {
        float kept = *wrong[k];
        *wrong[k] = k ? -1 : NAN;
        check_log_start(&log);
        assert_int_equal(weights_save(&x.g, path, x.param, x.stats, &facts),
                         VD_NUMERIC);
        check_log_end();
        assert_logged(&log, k ? "bn1.running_var: running statistic 0 is -1"
                              : "conv1.weight: parameter 0 is nan");
        assert_int_equal(check_count_files(folder), 0);
        *wrong[k] = kept;
    }
    assert_int_equal(weights_save(&x.g, path, x.param, x.stats, &facts), VD_OK);
    fixture_stop(&x);
    free(path);
    check_folder_remove(folder);
}

static void fill_checkpoint(struct checkpoint *c, const struct graph *g)
{
    assert_int_equal(checkpoint_new(c, g), VD_OK);
    init_all(g, 3, c->param, c->stats);
    c->size = 32;
    c->config = xstrdup("model:\n  width: 8\n  blocks: 1,1,1,1\n"
                        "  head_dropout: 0\n");
    c->state = xstrdup("{}");
    c->n_classes = 2;
    c->classes = xcalloc(2, sizeof *c->classes);
    c->classes[0] = xstrdup("cat");
    c->classes[1] = xstrdup("dog");
}

static void a_checkpoint_with_nan_is_not_loaded(void **state)
{
    (void)state;
    struct fixture x;
    struct checkpoint c;
    struct trained_model m;
    struct check_log log;
    char *folder = check_folder(), *path = xasprintf("%s/a.h5", folder);
    fixture_start(&x, RESNET_FREEZE_NONE);
    fill_checkpoint(&c, &x.g);
    assert_int_equal(checkpoint_write(&c, &x.g, path), VD_OK);
    assert_int_equal(trained_model_load_local(&m, path), VD_OK);
    trained_model_clear(&m);
    struct {
        float *place, value;
        const char *message;
    } faults[] = {
        {c.param + value_index(&x, "bn1.weight"), NAN,
         "bn1.weight: parameter 0 is nan"},
        {c.m, INFINITY, "head.fc2.weight: first moment 0 is inf"},
        {c.v + 2, -1, "head.fc2.weight: second moment 2 is -1"},
        {c.stats + value_index(&x, "layer1.0.bn2.running_var"), -2,
         "layer1.0.bn2.running_var: running statistic 0 is -2"},
    };
    for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
        float kept = *faults[k].place;
        *faults[k].place = faults[k].value;
        assert_int_equal(checkpoint_write(&c, &x.g, path), VD_OK);
        check_log_start(&log);
        assert_int_equal(trained_model_load_local(&m, path), VD_DATA);
        check_log_end();
        assert_logged(&log, path);
        assert_logged(&log, faults[k].message);
        trained_model_clear(&m);
        *faults[k].place = kept;
    }
    checkpoint_clear(&c);
    fixture_stop(&x);
    free(path);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_buffer_is_checked),
        cmocka_unit_test(only_variances_must_not_be_negative),
        cmocka_unit_test(frozen_tensors_have_no_moments),
        cmocka_unit_test(weights_with_nan_are_not_written),
        cmocka_unit_test(a_checkpoint_with_nan_is_not_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
