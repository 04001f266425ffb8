/* model/init: initial weights have PyTorch's distributions and depend on seed
 * and name only. */
#include "check.h"

#include "base/alloc.h"
#include "model/init.h"
#include "model/resnet.h"

static void build_graph(struct graph *g, enum resnet_freeze freeze,
                        int32_t blocks)
{
    struct resnet_spec spec = {.size = 64,
                               .width = 32,
                               .blocks = {blocks, 1, 1, 1},
                               .freeze = freeze,
                               .loss = {.classes = 3}};
    resnet_build(g, &spec);
}

static float *params_of(const struct graph *g, uint64_t seed, float **stats)
{
    float *params = xcalloc(g->n_params, sizeof *params);
    *stats = xcalloc(g->n_stats, sizeof **stats);
    init_all(g, seed, params, *stats);
    return params;
}

/* Mean, mean square and largest absolute value of a tensor. */
static void moments(const struct graph *g, const float *params,
                    const char *name, double out[3])
{
    const struct graph_tensor *t = &g->params[graph_find_param(g, name)];
    double n = (double)t->count, sum = 0, squares = 0, most = 0;
    for (size_t i = 0; i < t->count; i++) {
        double x = (double)params[t->offset + i];
        sum += x;
        squares += x * x;
        most = fmax(most, fabs(x));
    }
    out[0] = sum / n;
    out[1] = squares / n;
    out[2] = most;
}

static void distributions_are_pytorchs(void **state)
{
    (void)state;
    struct graph g;
    build_graph(&g, RESNET_FREEZE_NONE, 1);
    float *stats, *params = params_of(&g, 1, &stats);
    double m[3];
    moments(&g, params, "layer4.0.conv2.weight", m); /* 589824 values */
    double variance = 2.0 / (256 * 9);
    assert_near(m[0], 0, 4 * sqrt(variance / 589824));
    assert_near(m[1], variance, 0.01 * variance);
    moments(&g, params, "conv1.weight", m); /* fan out, not fan in */
    assert_near(m[1], 2.0 / (32 * 49), 0.1 * 2.0 / (32 * 49));
    moments(&g, params, "head.fc1.weight", m);
    assert_near(m[0], 0, 4 * 3.5e-5);
    assert_near(m[1], 1.0 / 1024 / 3, 0.01 / 1024 / 3);
    assert_near(m[2], 1.0 / 32, 1e-4);
    assert_true(m[2] <= 1.0 / 32);
    moments(&g, params, "head.fc1.bias", m);
    assert_true(m[2] <= 1.0 / 32 && m[2] > 0.9 / 32);
    moments(&g, params, "head.bn.weight", m);
    assert_true(m[0] == 1 && m[1] == 1);
    moments(&g, params, "layer2.0.bn1.bias", m);
    assert_true(m[2] == 0);
    for (int i = 0; i < g.n_stats_tensors; i++)
        assert_true(stats[g.stats[i].offset] == (float)(i % 2));
    free(params);
    free(stats);
    graph_clear(&g);
}

/* Freezing and blocks added elsewhere change the offset of a tensor but not its
 * values. */
static void a_tensor_depends_on_its_name_only(void **state)
{
    (void)state;
    struct graph a, b;
    build_graph(&a, RESNET_FREEZE_NONE, 1);
    build_graph(&b, RESNET_FREEZE_LAYER2, 2);
    float *stats_a, *params_a = params_of(&a, 5, &stats_a);
    float *stats_b, *params_b = params_of(&b, 5, &stats_b);
    float *stats_c, *params_c = params_of(&a, 6, &stats_c);
    for (int i = 0; i < a.n_param_tensors; i++) {
        const struct graph_tensor *t = &a.params[i];
        const struct graph_tensor *u = &b.params[graph_find_param(&b, t->name)];
        assert_memory_equal(params_a + t->offset, params_b + u->offset,
                            t->count * sizeof(float));
        if (t->init == GRAPH_INIT_CONV || t->init == GRAPH_INIT_LINEAR)
            assert_memory_not_equal(params_a + t->offset, params_c + t->offset,
                                    t->count * sizeof(float));
    }
    free(params_a);
    free(params_b);
    free(params_c);
    free(stats_a);
    free(stats_b);
    free(stats_c);
    graph_clear(&a);
    graph_clear(&b);
}

static void init_head_writes_the_same_head_and_nothing_else(void **state)
{
    (void)state;
    struct graph g;
    build_graph(&g, RESNET_FREEZE_NONE, 1);
    float *stats, *params = params_of(&g, 1, &stats);
    float *head = xcalloc(g.n_params, sizeof *head);
    float *head_stats = xcalloc(g.n_stats, sizeof *head_stats);
    init_head(&g, 1, head, head_stats);
    assert_memory_equal(head, params, g.n_head * sizeof *head);
    for (size_t i = g.n_head; i < g.n_params; i++)
        assert_true(head[i] == 0);
    for (int i = 0; i < g.n_stats_tensors; i++) {
        const struct graph_tensor *t = &g.stats[i];
        for (size_t k = t->offset; k < t->offset + t->count; k++)
            assert_true(head_stats[k] == (t->head ? stats[k] : 0));
    }
    free(params);
    free(stats);
    free(head);
    free(head_stats);
    graph_clear(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_head_writes_the_same_head_and_nothing_else),
        cmocka_unit_test(distributions_are_pytorchs),
        cmocka_unit_test(a_tensor_depends_on_its_name_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
