/* model/graph and model/resnet: tensor names, shapes and counts, their order,
 * freezing, the digest and the loss of an image. */
#include "check.h"

#include "model/resnet.h"

static struct resnet_spec resnet34(void)
{
    return (struct resnet_spec){
        .size = 224,
        .width = 64,
        .blocks = {3, 4, 6, 3},
        .head_dropout = 0.5,
        .loss = {.classes = 20, .box_scale = 1, .class_scale = 25}};
}

static void assert_shape(const struct graph *g, const char *name, int32_t a,
                         int32_t b, int32_t k)
{
    int i = graph_find_param(g, name);
    if (i < 0)
        fail_msg("no %s", name);
    const struct graph_tensor *t = &g->params[i];
    assert_int_equal(t->dims[0], a);
    assert_int_equal(t->dims[1], b);
    assert_int_equal(t->dims[2], k);
    assert_int_equal(t->dims[3], k);
}

/* Checks the tensors of one norm and returns their number. */
static int assert_norm(const struct graph *g, const char *layer, int32_t c)
{
    char name[GRAPH_MAX_NAME];
    snprintf(name, sizeof name, "%s.weight", layer);
    assert_shape(g, name, c, 0, 0);
    snprintf(name, sizeof name, "%s.bias", layer);
    assert_shape(g, name, c, 0, 0);
    snprintf(name, sizeof name, "%s.running_mean", layer);
    int i = graph_find_stats(g, name);
    assert_true(i >= 0 && g->stats[i].count == (size_t)c);
    snprintf(name, sizeof name, "%s.running_var", layer);
    assert_int_equal(graph_find_stats(g, name), i + 1);
    return 4;
}

static int assert_block(const struct graph *g, int layer, int block, int32_t in,
                        int32_t out)
{
    char name[GRAPH_MAX_NAME];
    int n = 0;
    for (int k = 1; k <= 2; k++, n++) {
        snprintf(name, sizeof name, "layer%d.%d.conv%d.weight", layer, block,
                 k);
        assert_shape(g, name, out, k == 1 ? in : out, 3);
        snprintf(name, sizeof name, "layer%d.%d.bn%d", layer, block, k);
        n += assert_norm(g, name, out);
    }
    if (in == out)
        return n;
    snprintf(name, sizeof name, "layer%d.%d.downsample.0.weight", layer, block);
    assert_shape(g, name, out, in, 1);
    snprintf(name, sizeof name, "layer%d.%d.downsample.1", layer, block);
    return n + 1 + assert_norm(g, name, out);
}

/* torchvision's resnet34 without fc has 180 tensors, not counting
 * num_batches_tracked. */
static void names_and_shapes_are_torchvisions(void **state)
{
    (void)state;
    struct resnet_spec spec = resnet34();
    struct graph g;
    resnet_build(&g, &spec);
    assert_shape(&g, "conv1.weight", 64, 3, 7);
    int n = 1 + assert_norm(&g, "bn1", 64);
    int32_t in = 64;
    for (int layer = 1; layer <= 4; layer++) {
        for (int block = 0; block < spec.blocks[layer - 1]; block++) {
            n += assert_block(&g, layer, block, in, 64 << (layer - 1));
            in = 64 << (layer - 1);
        }
    }
    assert_int_equal(n, 180);
    assert_shape(&g, "head.fc1.weight", 256, 25088, 0);
    assert_shape(&g, "head.fc1.bias", 256, 0, 0);
    assert_shape(&g, "head.fc2.weight", 24, 256, 0);
    assert_shape(&g, "head.fc2.bias", 24, 0, 0);
    n += 4 + assert_norm(&g, "head.bn", 256);
    assert_int_equal(g.n_param_tensors + g.n_stats_tensors, n);
    graph_clear(&g);
}

static void counts_are_known(void **state)
{
    (void)state;
    struct resnet_spec spec = resnet34();
    struct graph g;
    resnet_build(&g, &spec);
    const size_t head = 25088 * 256 + 256 + 2 * 256 + 256 * 24 + 24;
    assert_int_equal(g.n_params - g.n_head, 21284672);
    assert_int_equal(g.n_head, head);
    assert_int_equal(g.n_stats, 2 * (8512 + 256));
    assert_int_equal(g.n_trainable, g.n_params);
    assert_int_equal(g.n_exchange, g.n_params + g.n_stats + 1);
    graph_clear(&g);
}

static void values_have_their_shapes(void **state)
{
    (void)state;
    struct resnet_spec spec = resnet34();
    spec.size = 96;
    struct graph g;
    resnet_build(&g, &spec);
    assert_int_equal(g.nodes[0].h, 96);
    assert_int_equal(g.nodes[1].h, 48);
    assert_int_equal(g.nodes[4].op, GRAPH_MAXPOOL);
    assert_int_equal(g.nodes[4].h, 24);
    int fc1 = g.first_trainable;
    while (g.nodes[fc1].op != GRAPH_LINEAR)
        fc1++;
    const struct graph_node *flat = &g.nodes[fc1 - 3];
    assert_int_equal(flat->op, GRAPH_FLATTEN);
    assert_int_equal(flat->c, 512 * 3 * 3);
    assert_int_equal(g.nodes[flat->in[0]].h, 3);
    assert_int_equal(g.nodes[g.n_nodes - 1].c, 1);
    graph_clear(&g);
}

static void order_is_packed_and_backward(void **state)
{
    (void)state;
    struct resnet_spec spec = resnet34();
    struct graph g;
    resnet_build(&g, &spec);
    assert_string_equal(g.params[0].name, "head.fc2.weight");
    assert_string_equal(g.params[1].name, "head.fc2.bias");
    assert_string_equal(g.params[2].name, "head.bn.weight");
    const char *last = g.params[g.n_param_tensors - 1].name;
    assert_string_equal(last, "conv1.weight");
    size_t at = 0;
    for (int i = 0; i < g.n_param_tensors; i++) {
        assert_int_equal(g.params[i].offset, at);
        at += g.params[i].count;
    }
    int previous = g.n_param_tensors;
    for (int i = 0; i < g.n_nodes; i++) {
        if (g.nodes[i].param < 0)
            continue;
        assert_int_equal(g.nodes[i].param + graph_node_tensors(&g.nodes[i]),
                         previous);
        previous = g.nodes[i].param;
    }
    assert_int_equal(previous, 0);
    graph_clear(&g);
}

static void freezing_takes_the_tail(void **state)
{
    (void)state;
    const char *const last_trainable[] = {
        "conv1.weight",          "layer1.0.conv1.weight",
        "layer2.0.conv1.weight", "layer3.0.conv1.weight",
        "layer4.0.conv1.weight", "head.fc1.bias"};
    for (int level = 0; level <= RESNET_FREEZE_BACKBONE; level++) {
        struct resnet_spec spec = resnet34();
        struct graph g;
        spec.freeze = (enum resnet_freeze)level;
        spec.fixed_norms = true;
        resnet_build(&g, &spec);
        int at = graph_find_param(&g, last_trainable[level]);
        for (int i = 0; i < g.n_param_tensors; i++)
            assert_int_equal(g.params[i].trainable, i <= at);
        assert_int_equal(g.n_trainable,
                         g.params[at].offset + g.params[at].count);
        assert_int_equal(g.n_exchange, g.n_trainable + g.n_stats + 1);
        for (int i = 0; i < g.n_nodes; i++) {
            const struct graph_node *node = &g.nodes[i];
            bool frozen =
                node->op == GRAPH_NORM && !g.params[node->param].trainable;
            assert_int_equal(node->fixed_norm, frozen);
        }
        graph_clear(&g);
    }
}

static void the_digest_covers_what_affects_the_computation(void **state)
{
    (void)state;
    struct resnet_spec specs[6];
    uint64_t digests[6];
    double weights[20] = {1};
    for (int i = 0; i < 6; i++)
        specs[i] = resnet34();
    specs[1].freeze = RESNET_FREEZE_STEM;
    specs[2].head_dropout = 0.4;
    specs[3].loss.class_scale = 24;
    specs[4].loss.box_scale = 2;
    specs[5].blocks[0] = 2;
    for (int i = 0; i < 6; i++) {
        struct graph g;
        resnet_build(&g, &specs[i]);
        digests[i] = graph_digest(&g);
        assert_true(graph_digest(&g) == digests[i]);
        graph_clear(&g);
        for (int k = 0; k < i; k++)
            assert_true(digests[k] != digests[i]);
    }
    /* Class weights come from the data, which has its own digest: a network
     * restored without them has the same digest. */
    struct graph g;
    specs[0].loss.class_weights = weights;
    resnet_build(&g, &specs[0]);
    assert_true(graph_digest(&g) == digests[0]);
    graph_clear(&g);
}

static void invalid_specs_are_rejected(void **state)
{
    (void)state;
    struct check_log log;
    struct resnet_spec spec = resnet34();
    assert_int_equal(resnet_check(&spec), VD_OK);
    check_log_start(&log);
    spec.size = 225;
    assert_int_equal(resnet_check(&spec), VD_CONFIG);
    spec.size = 1056;
    assert_int_equal(resnet_check(&spec), VD_CONFIG);
    spec.size = 0;
    assert_int_equal(resnet_check(&spec), VD_CONFIG);
    spec = resnet34();
    spec.blocks[2] = 0;
    assert_int_equal(resnet_check(&spec), VD_CONFIG);
    spec = resnet34();
    spec.head_dropout = 1;
    assert_int_equal(resnet_check(&spec), VD_CONFIG);
    spec.head_dropout = (double)NAN;
    assert_int_equal(resnet_check(&spec), VD_CONFIG);
    check_log_end();
    assert_logged(&log, "225 x 225 pixels");
    assert_logged(&log, "0 blocks in layer3");
}

static void loss_of_an_image_is_weighted_by_its_class(void **state)
{
    (void)state;
    double weights[] = {1, 0.5, 3};
    struct graph_loss loss = {.classes = 3, .box_scale = 2, .class_scale = 25};
    assert_true(graph_loss_of_image(&loss, 1, 10, 4) == 2 * 10 + 25 * 4);
    loss.class_weights = weights;
    assert_true(graph_loss_of_image(&loss, 1, 10, 4) == 2 * 10 + 25 * 0.5 * 4);
    assert_true(graph_loss_of_image(&loss, 2, 10, 4) == 2 * 10 + 25 * 3 * 4);
    assert_false(graph_loss_of_image(&loss, 0, (double)NAN, 4) < INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_shapes_are_torchvisions),
        cmocka_unit_test(counts_are_known),
        cmocka_unit_test(values_have_their_shapes),
        cmocka_unit_test(order_is_packed_and_backward),
        cmocka_unit_test(freezing_takes_the_tail),
        cmocka_unit_test(the_digest_covers_what_affects_the_computation),
        cmocka_unit_test(invalid_specs_are_rejected),
        cmocka_unit_test(loss_of_an_image_is_weighted_by_its_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
