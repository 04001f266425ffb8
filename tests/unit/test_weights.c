/* model/weights: files load with any common name prefix, are rejected with the
 * tensor's name and shapes, and round-trip. */
#include "check.h"

#include "base/alloc.h"
#include "model/init.h"
#include "model/resnet.h"
#include "model/weights.h"
#include "store/safetensors.h"

static void build_graph(struct graph *g, int32_t width, int32_t classes)
{
    struct resnet_spec spec = {.size = 64,
                               .width = width,
                               .blocks = {1, 1, 1, 1},
                               .loss = {.classes = classes}};
    resnet_build(g, &spec);
}

struct fixture {
    struct graph g;
    float *params, *stats; /* what is saved */
    float *params2, *stats2;
    char *folder, *path;
};

static void fixture_start(struct fixture *x)
{
    build_graph(&x->g, 8, 2);
    x->params = xcalloc(x->g.n_params, sizeof(float));
    x->stats = xcalloc(x->g.n_stats, sizeof(float));
    x->params2 = xcalloc(x->g.n_params, sizeof(float));
    x->stats2 = xcalloc(x->g.n_stats, sizeof(float));
    init_all(&x->g, 3, x->params, x->stats);
    x->folder = check_folder();
    x->path = xasprintf("%s/w.safetensors", x->folder);
}

static void fixture_stop(struct fixture *x)
{
    free(x->params);
    free(x->stats);
    free(x->params2);
    free(x->stats2);
    free(x->path);
    check_folder_remove(x->folder);
    graph_clear(&x->g);
}

/* Writes params and stats with prefixed names, without the head's unless `head`
 * and without the tensor `without`. */
static void write_some(struct fixture *x, const char *prefix, bool head,
                       const char *without)
{
    struct safetensors_output out[256];
    char *names[256];
    int64_t dims[256][4];
    size_t n = 0;
    for (int i = 0; i < x->g.n_param_tensors + x->g.n_stats_tensors; i++) {
        bool is_param = i < x->g.n_param_tensors;
        const struct graph_tensor *t =
            is_param ? &x->g.params[i] : &x->g.stats[i - x->g.n_param_tensors];
        if ((t->head && !head) || strcmp(t->name, without) == 0)
            continue;
        for (int k = 0; k < t->n_dims; k++)
            dims[n][k] = t->dims[k];
        names[n] = xasprintf("%s%s", prefix, t->name);
        out[n] = (struct safetensors_output){names[n], t->n_dims, dims[n],
                                             (is_param ? x->params : x->stats) +
                                                 t->offset};
        n++;
    }
    names[n] = xasprintf("%sbn1.num_batches_tracked", prefix);
    out[n] = (struct safetensors_output){names[n], 0, NULL, x->params};
    n++;
    names[n] = xasprintf("%sfc.bias", prefix);
    out[n] = (struct safetensors_output){names[n], 1, &(int64_t){5}, x->params};
    n++;
    assert_int_equal(safetensors_write(x->path, out, n, NULL, 0), VD_OK);
    while (n > 0)
        free(names[--n]);
}

static enum vd_err load_weight_file(struct fixture *x, bool needs_head,
                                    struct weights_report *report)
{
    return weights_load(&x->g, x->path, needs_head, x->params2, x->stats2,
                        report);
}

static void prefixes_are_stripped(void **state)
{
    (void)state;
    struct fixture x;
    struct weights_report report;
    fixture_start(&x);
    write_some(&x, "module.backbone.", false, "");
    assert_int_equal(load_weight_file(&x, false, &report), VD_OK);
    assert_false(report.head);
    size_t n = (size_t)(x.g.n_param_tensors + x.g.n_stats_tensors) - 8 + 2;
    char *text =
        xasprintf("%zu/%zu tensors loaded; module.backbone.fc.bias unused; "
                  "head initialized",
                  n - 1, n);
    assert_string_equal(report.text, text);
    assert_memory_equal(x.params + x.g.n_head, x.params2 + x.g.n_head,
                        (x.g.n_params - x.g.n_head) * sizeof(float));
    for (size_t i = 0; i < x.g.n_head; i++)
        assert_true(x.params2[i] == 0);
    free(text);
    weights_report_clear(&report);
    fixture_stop(&x);
}

static void prefixes_may_be_in_any_order(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"_orig_mod.", "_orig_mod.module.",
                                           "module._orig_mod.backbone.",
                                           "model.model."};
    for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++) {
        struct fixture x;
        struct weights_report report;
        fixture_start(&x);
        write_some(&x, prefixes[k], true, "");
        assert_int_equal(load_weight_file(&x, true, &report), VD_OK);
        assert_memory_equal(x.params, x.params2, x.g.n_params * sizeof(float));
        weights_report_clear(&report);
        fixture_stop(&x);
    }
}

/* A file trained on other classes provides the backbone. */
static void a_head_of_another_shape_is_skipped(void **state)
{
    (void)state;
    struct fixture x;
    struct weights_report report;
    fixture_start(&x);
    write_some(&x, "", true, "");
    assert_int_equal(load_weight_file(&x, false, &report), VD_OK);
    assert_true(report.head);
    assert_non_null(strstr(report.text, "; head included"));
    assert_memory_equal(x.params, x.params2, x.g.n_params * sizeof(float));
    weights_report_clear(&report);
    size_t n_backbone = x.g.n_params - x.g.n_head, n_head = x.g.n_head;
    graph_clear(&x.g);
    build_graph(&x.g, 8, 3);
    float *params = xcalloc(x.g.n_params, sizeof *params);
    assert_int_equal(
        weights_load(&x.g, x.path, false, params, x.stats2, &report), VD_OK);
    assert_false(report.head);
    assert_non_null(strstr(report.text, "head.fc2.weight"));
    assert_non_null(strstr(report.text, "unused; head initialized"));
    assert_true(x.g.n_params - x.g.n_head == n_backbone);
    assert_memory_equal(x.params + n_head, params + x.g.n_head,
                        n_backbone * sizeof(float));
    for (size_t i = 0; i < x.g.n_head; i++)
        assert_true(params[i] == 0);
    free(params);
    weights_report_clear(&report);
    fixture_stop(&x);
}

static void missing_tensors_and_wrong_shapes_are_rejected(void **state)
{
    (void)state;
    struct fixture x;
    struct check_log log;
    struct weights_report report;
    fixture_start(&x);
    check_log_start(&log);
    write_some(&x, "", true, "layer2.0.conv1.weight");
    assert_int_equal(load_weight_file(&x, false, &report), VD_DATA);
    assert_logged(&log, "1 tensors of the network are missing: "
                        "layer2.0.conv1.weight");
    write_some(&x, "", true, "head.bn.running_var");
    assert_int_equal(load_weight_file(&x, false, &report), VD_DATA);
    assert_logged(&log, "missing: head.bn.running_var");
    write_some(&x, "", false, "");
    assert_int_equal(load_weight_file(&x, true, &report), VD_DATA);
    assert_logged(&log, "a backbone without a head");
    write_some(&x, "", true, "");
    graph_clear(&x.g);
    build_graph(&x.g, 8, 3);
    assert_int_equal(load_weight_file(&x, true, &report), VD_DATA);
    assert_logged(&log, "head.fc2.weight has shape [6, 256], the network needs "
                        "[7, 256]");
    check_log_end();
    fixture_stop(&x);
}

static void invalid_values_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        size_t index;
        float value;
        const char *message;
    } faults[] = {
        {"conv1.weight", 3, NAN, "module.conv1.weight: value 3 is nan"},
        {"layer3.0.bn2.bias", 0, INFINITY, "layer3.0.bn2.bias: value 0 is inf"},
        {"head.fc2.bias", 1, -INFINITY, "head.fc2.bias: value 1 is -inf"},
        {"bn1.running_mean", 7, NAN, "bn1.running_mean: value 7 is nan"},
        {"head.bn.running_var", 2, -1, "head.bn.running_var: value 2 is -1"},
    };
    for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
        struct fixture x;
        struct check_log log;
        struct weights_report report;
        fixture_start(&x);
        int param = graph_find_param(&x.g, faults[k].tensor);
        int stats = graph_find_stats(&x.g, faults[k].tensor);
        float *to = param >= 0 ? x.params + x.g.params[param].offset
                               : x.stats + x.g.stats[stats].offset;
        to[faults[k].index] = faults[k].value;
        write_some(&x, "module.", true, "");
        check_log_start(&log);
        assert_int_equal(load_weight_file(&x, true, &report), VD_DATA);
        check_log_end();
        assert_logged(&log, x.path);
        assert_logged(&log, faults[k].message);
        if (k == 2) { /* the invalid head is not in the file */
            write_some(&x, "", false, "");
            assert_int_equal(load_weight_file(&x, false, &report), VD_OK);
            weights_report_clear(&report);
        }
        fixture_stop(&x);
    }
}

static void a_saved_file_round_trips(void **state)
{
    (void)state;
    struct fixture x;
    struct weights_report report;
    fixture_start(&x);
    char dog[] = "dog", cat[] = "a \"cat\", red";
    char *classes[] = {dog, cat};
    struct weights_metadata facts = {.classes = classes,
                                     .n_classes = 2,
                                     .size = 64,
                                     .width = 8,
                                     .blocks = {1, 1, 1, 1},
                                     .mean = {0.485f, 0.456f, 0.406f},
                                     .std = {0.229f, 0.224f, 0.225f}};
    struct weights_metadata back;
    assert_int_equal(weights_save(&x.g, x.path, x.params, x.stats, &facts),
                     VD_OK);
    assert_int_equal(load_weight_file(&x, true, &report), VD_OK);
    assert_true(report.head && report.n_loaded == report.n_file);
    assert_memory_equal(x.params, x.params2, x.g.n_params * sizeof(float));
    assert_memory_equal(x.stats, x.stats2, x.g.n_stats * sizeof(float));
    weights_report_clear(&report);
    assert_int_equal(weights_metadata_read(&back, x.path), VD_OK);
    assert_int_equal(back.n_classes, 2);
    assert_string_equal(back.classes[1], classes[1]);
    assert_int_equal(back.size, 64);
    assert_memory_equal(back.blocks, facts.blocks, sizeof back.blocks);
    assert_memory_equal(back.mean, facts.mean, sizeof back.mean);
    assert_memory_equal(back.std, facts.std, sizeof back.std);
    weights_metadata_clear(&back);
    struct check_log log;
    check_log_start(&log);
    write_some(&x, "", true, "");
    assert_int_equal(weights_metadata_read(&back, x.path), VD_DATA);
    check_log_end();
    assert_logged(&log, "no \"classes\" in its metadata");
    const struct safetensors_output one = {"a", 0, NULL, x.params};
    const struct safetensors_metadata note = {"classes", "{\"cat\": \"dog\"}"};
    assert_int_equal(safetensors_write(x.path, &one, 1, &note, 1), VD_OK);
    check_log_start(&log);
    assert_int_equal(weights_metadata_read(&back, x.path), VD_DATA);
    check_log_end();
    assert_logged(&log, "expected a list");
    fixture_stop(&x);
}

/* A substitute for ImageNet weights: fp16, torchvision's names. */
static void torchvisions_file_is_loaded(void **state)
{
    (void)state;
    const char *data = getenv("VOCDIST_TEST_DATA");
    if (!data)
        skip();
    struct resnet_spec spec = {.size = 224,
                               .width = 64,
                               .blocks = {3, 4, 6, 3},
                               .loss = {.classes = 20}};
    struct graph g;
    resnet_build(&g, &spec);
    float *params = xcalloc(g.n_params, sizeof *params);
    float *stats = xcalloc(g.n_stats, sizeof *stats);
    struct weights_report report;
    char *path = xasprintf("%s/weights/resnet34-warm.safetensors", data);
    assert_int_equal(weights_load(&g, path, false, params, stats, &report),
                     VD_OK);
    assert_string_equal(report.text, "216/218 tensors loaded; fc.weight, "
                                     "fc.bias unused; head initialized");
    const struct graph_tensor *t =
        &g.stats[graph_find_stats(&g, "layer4.2.bn2.running_var")];
    for (size_t i = 0; i < t->count; i++)
        assert_true(stats[t->offset + i] > 0);
    weights_report_clear(&report);
    free(path);
    free(params);
    free(stats);
    graph_clear(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_are_stripped),
        cmocka_unit_test(prefixes_may_be_in_any_order),
        cmocka_unit_test(a_head_of_another_shape_is_skipped),
        cmocka_unit_test(missing_tensors_and_wrong_shapes_are_rejected),
        cmocka_unit_test(invalid_values_are_rejected),
        cmocka_unit_test(a_saved_file_round_trips),
        cmocka_unit_test(torchvisions_file_is_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
