#include "cudnn_fixture.h"

#include "base/alloc.h"
#include "model/resnet.h"
#include "store/json.h"

const char *const fixture_devices[3] = {"h200", "h100", "a100"};

struct conv_device *fixture_device(const char *name)
{
    char path[512], json[8192];
    snprintf(path, sizeof path, "%s/%s.json", DEVICE_DIR, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(json, 1, sizeof json, f);
    fclose(f);
    assert_in_range(n, 1, sizeof json - 1);
    struct conv_device *d = NULL;
    assert_int_equal(conv_device_describe(path, json, n, &d), VD_OK);
    return d;
}

/* ---- operations ---- */

static void add_once(struct conv_spec **list, size_t *n,
                     const struct conv_spec *s)
{
    char text[CONV_MAX_TEXT], other[CONV_MAX_TEXT];
    conv_spec_text(s, text);
    for (size_t i = 0; i < *n; i++) {
        conv_spec_text(&(*list)[i], other);
        if (strcmp(text, other) == 0)
            return;
    }
    *list = xreallocarray(*list, *n + 1, sizeof **list);
    (*list)[(*n)++] = *s;
}

static void add_directions(struct conv_spec **list, size_t *n,
                           struct conv_spec s)
{
    for (int direction = 0; direction < CONV_DIRECTIONS; direction++) {
        s.direction = (enum conv_direction)direction;
        s.accumulate = false;
        add_once(list, n, &s);
    }
    s.direction = CONV_BACKWARD_DATA;
    s.accumulate = true;
    add_once(list, n, &s);
}

struct conv_spec *
fixture_operations(int batch, enum backend_precision precision, size_t *n)
{
    struct resnet_spec resnet = {.size = 224,
                                 .width = 64,
                                 .blocks = {3, 4, 6, 3},
                                 .loss = {.classes = 20}};
    struct graph g;
    struct conv_spec *list = NULL, s;
    resnet_build(&g, &resnet);
    *n = 0;
    for (int stem = CONV_STEM_PADDED; stem <= CONV_STEM_SPACE_TO_DEPTH; stem++)
        for (int i = 0; i < g.n_nodes; i++) {
            if (g.nodes[i].op != GRAPH_CONV && g.nodes[i].op != GRAPH_LINEAR)
                continue;
            conv_spec_of_node(&g, i, batch, (enum conv_stem)stem, &s);
            s.precision = precision;
            add_directions(&list, n, s);
        }
    graph_clear(&g);
    return list;
}

/* ---- cuDNN's description of a plan ---- */

static const struct json *member(const struct json *object, const char *key)
{
    for (void *at = json_first(object); at; at = json_next(object, at))
        if (strcmp(json_key(at), key) == 0)
            return json_value(at);
    fail_msg("no member %s", key);
    return NULL;
}

static int64_t int_member(const struct json *object, const char *key)
{
    int64_t value = 0;
    assert_int_equal(
        json_get_int(object, "plan", key, INT64_MIN, INT64_MAX, &value), VD_OK);
    return value;
}

static const char *text_member(const struct json *object, const char *key)
{
    const char *value = NULL;
    assert_int_equal(json_get_text(object, "plan", key, &value), VD_OK);
    return value;
}

static void check_ints(const struct json *object, const char *key, size_t n,
                       const int64_t *expected)
{
    const struct json *list = member(object, key);
    assert_int_equal(json_count(list), n);
    for (size_t i = 0; i < n; i++) {
        int64_t value = 0;
        assert_int_equal(
            json_int_at(list, "plan", i, INT64_MIN, INT64_MAX, &value), VD_OK);
        if (value != expected[i])
            fail_msg("%s[%zu] is %lld, not %lld", key, i, (long long)value,
                     (long long)expected[i]);
    }
}

static const struct json *find_tensor(const struct json *graph,
                                      const char *name)
{
    const struct json *list = member(graph, "tensors");
    for (size_t i = 0; i < json_count(list); i++)
        if (strcmp(text_member(json_at(list, i), "name"), name) == 0)
            return json_at(list, i);
    fail_msg("no tensor %s", name);
    return NULL;
}

/* The tensor in `role` is number `id`, [n, h, w, c] with c innermost. */
static void check_tensor(const struct json *graph, const char *role,
                         const char *id, const char *type,
                         const int64_t nhwc[4])
{
    const struct json *node = json_at(member(graph, "nodes"), 0);
    const struct json *tensor = find_tensor(graph, id);
    int64_t n = nhwc[0], h = nhwc[1], w = nhwc[2], c = nhwc[3];
    if (strcmp(text_member(node, role), id) != 0)
        fail_msg("role %s has tensor %s, not %s", role, text_member(node, role),
                 id);
    assert_string_equal(text_member(tensor, "dataType"), type);
    check_ints(tensor, "dim", 4, (int64_t[]){n, c, h, w});
    check_ints(tensor, "stride", 4, (int64_t[]){h * w * c, 1, w * c, c});
    assert_int_equal(int_member(tensor, "ptrAlignment"), 16);
}

static void check_tensors(const struct json *graph, const struct conv_spec *s)
{
    static const char *const types[BACKEND_PRECISIONS] = {
        [BACKEND_FP32] = "CUDNN_DATA_FLOAT",
        [BACKEND_TF32] = "CUDNN_DATA_FLOAT",
        [BACKEND_BF16] = "CUDNN_DATA_BFLOAT16",
        [BACKEND_FP16] = "CUDNN_DATA_HALF"};
    static const char *const roles[CONV_DIRECTIONS][3] = {
        [CONV_FORWARD] = {"X", "W", "Y"},
        [CONV_BACKWARD_DATA] = {"dX", "W", "dY"},
        [CONV_BACKWARD_WEIGHTS] = {"X", "dW", "dY"}};
    const char *const *role = roles[s->direction], *type = types[s->precision];
    int64_t oh = (s->h + 2 * s->pad - s->kernel) / s->stride + 1;
    int64_t ow = (s->w + 2 * s->pad - s->kernel) / s->stride + 1;
    check_tensor(graph, role[0], "1", type,
                 (int64_t[]){s->batch, s->h, s->w, s->c});
    check_tensor(graph, role[1], "2", type,
                 (int64_t[]){s->out_c, s->kernel, s->kernel, s->c});
    check_tensor(graph, role[2], "3", type,
                 (int64_t[]){s->batch, oh, ow, s->out_c});
    assert_int_equal(json_count(member(graph, "tensors")), 3);
}

static void check_operation(const struct json *graph, const struct conv_spec *s)
{
    static const char *const names[CONV_DIRECTIONS] = {
        "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR",
        "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR",
        "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR"};
    const struct json *nodes = member(graph, "nodes");
    assert_int_equal(json_count(nodes), 1);
    const struct json *node = json_at(nodes, 0);
    double alpha = NAN, beta = NAN;
    assert_string_equal(text_member(node, "operation"), names[s->direction]);
    assert_string_equal(text_member(node, "mode"), "CUDNN_CROSS_CORRELATION");
    assert_string_equal(text_member(node, "mathPrec"), "CUDNN_DATA_FLOAT");
    assert_int_equal(json_get_real(node, "plan", "alpha", &alpha), VD_OK);
    assert_int_equal(json_get_real(node, "plan", "beta", &beta), VD_OK);
    assert_near(alpha, 1, 0);
    assert_near(beta, s->accumulate ? 1 : 0, 0);
    check_ints(node, "pad", 2, (int64_t[]){s->pad, s->pad});
    check_ints(node, "stride", 2, (int64_t[]){s->stride, s->stride});
    check_ints(node, "dilation", 2, (int64_t[]){1, 1});
}

/* cuDNN lists all knobs of the engine, those without a choice as -1. */
static void check_engine(const struct json *engine, const struct conv_engine *e)
{
    const struct json *choices = member(engine, "knobChoices");
    assert_int_equal(int_member(engine, "engineId"), e->id);
    if (e->n_knobs == 0)
        return; /* all have defaults */
    assert_int_equal(json_count(choices), e->n_knobs);
    int i = 0;
    for (void *at = json_first(choices); at; at = json_next(choices, at), i++)
        assert_int_equal(int_member(choices, json_key(at)), e->knob[i].value);
}

void fixture_check_description(const struct conv_plan *plan,
                               const struct conv_spec *spec)
{
    char *text = NULL;
    struct json *root = NULL;
    assert_int_equal(conv_plan_describe(plan, &text), VD_OK);
    assert_int_equal(json_parse(&root, "plan", text, strlen(text)), VD_OK);
    const struct json *graph = member(root, "operationGraph");
    check_tensors(graph, spec);
    check_operation(graph, spec);
    check_engine(member(root, "engine"), conv_plan_engine(plan));
    json_free(root);
    free(text);
}
