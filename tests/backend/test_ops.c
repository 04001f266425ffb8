/*
 * Every backend that was built agrees with ref: single ops (values, gradients,
 * results), the small network and three updates of every optimizer rule. Two
 * fixtures, one on each backend, get the same numbers.
 */
#include "backend/cases.h"
#include "backend/net_fixture.h"

#include "model/resnet.h"

/*
 * Relative distance of a tensor computed in float32 from the one in double.
 * Sums of some hundred products have an error of about 1e-6; the gradient of a
 * batch norm, a difference of nearly equal numbers, has ten times as much.
 */
#define TOLERANCE 2e-5

/*
 * In a whole network with batch norms over three images, each layer amplifies
 * the rounding errors of the layers before it.
 */
#define NETWORK_TOLERANCE 1e-3

/* What is compared, and the greatest relative distance. */
struct subject {
    const char *name;
    double tolerance;
};

static void compare_tensor(const struct subject *what, const char *name, int i,
                           const float *a, const float *b, size_t n)
{
    double distance = net_fixture_distance(a, b, n);
    if (!(distance <= what->tolerance))
        fail_msg("%s: %s %d is off by %g", what->name, name, i, distance);
}

/* Values and, with `grads`, gradients of all nodes that are not fused away. */
static void compare_nodes(const struct subject *what, struct net_fixture *a,
                          struct net_fixture *b, bool grads)
{
    for (int i = 0; i < a->graph->n_nodes; i++) {
        size_t n = (size_t)a->batch * graph_node_count(&a->graph->nodes[i]);
        float *x = net_fixture_value(a, i), *y = net_fixture_value(b, i);
        if (x)
            compare_tensor(what, "value of node", i, x, y, n);
        free(x);
        free(y);
        if (!grads || i < a->graph->first_trainable)
            continue;
        x = net_fixture_grad(a, i);
        y = net_fixture_grad(b, i);
        if (x)
            compare_tensor(what, "gradient of node", i, x, y, n);
        free(x);
        free(y);
    }
}

static void compare_table(const struct subject *what,
                          const struct graph_tensor *table, int n,
                          const float *a, const float *b)
{
    for (int i = 0; i < n; i++)
        compare_tensor(what, table[i].name, i, a + table[i].offset,
                       b + table[i].offset, table[i].count);
}

static void compare_exchange_buffers(const struct subject *what,
                                     struct net_fixture *a,
                                     struct net_fixture *b)
{
    const struct graph *g = a->graph;
    float *x = net_fixture_get(a, &a->exchange),
          *y = net_fixture_get(b, &b->exchange);
    for (int i = 0; i < g->n_param_tensors && g->params[i].trainable; i++)
        compare_table(what, &g->params[i], 1, x, y);
    compare_table(what, g->stats, g->n_stats_tensors, x + g->n_trainable,
                  y + g->n_trainable);
    assert_true(x[g->n_exchange - 1] == y[g->n_exchange - 1]);
    free(x);
    free(y);
}

static void compare_results(struct net_fixture *a, struct net_fixture *b)
{
    struct result x[8], y[8];
    net_fixture_results(a, x);
    net_fixture_results(b, y);
    for (int i = 0; i < a->batch; i++) {
        double scale = a->graph->loss.size;
        assert_int_equal(x[i].class, y[i].class);
        assert_near((double)x[i].score, (double)y[i].score, 1e-4);
        assert_near((double)x[i].ce, (double)y[i].ce, 1e-3);
        assert_near((double)x[i].l1, (double)y[i].l1, 1e-5 * scale);
        for (int k = 0; k < 4; k++)
            assert_near((double)x[i].box[k], (double)y[i].box[k], 1e-5 * scale);
    }
}

/* Compares one step of backend `name` and of ref on the same numbers. */
static void compare_step(const struct subject *what, const char *name,
                         const struct graph *g, int batch, enum net_mode mode)
{
    struct net_fixture a, b;
    struct optim optim = net_fixture_adam();
    net_fixture_open(&a, name, g, batch, mode, &optim);
    net_fixture_open(&b, "ref", g, batch, mode, &optim);
    net_fixture_fill(&a, 11);
    net_fixture_fill(&b, 11);
    net_fixture_stage(&a);
    net_fixture_stage(&b);
    if (mode == NET_TRAIN) {
        net_fixture_backward(&a);
        net_fixture_backward(&b);
        compare_exchange_buffers(what, &a, &b);
    } else {
        net_fixture_forward(&a);
        net_fixture_forward(&b);
    }
    compare_nodes(what, &a, &b, mode == NET_TRAIN);
    compare_results(&a, &b);
    net_fixture_close(&a);
    net_fixture_close(&b);
}

static void every_op_agrees_with_ref(void **state)
{
    (void)state;
    for (const char *const *name = net_fixture_backends(); *name; name++) {
        for (int i = 0; i < n_op_cases; i++) {
            struct graph g;
            struct subject what = {op_cases[i].name, TOLERANCE};
            op_case_build(&g, &op_cases[i]);
            compare_step(&what, *name, &g, op_cases[i].batch, NET_TRAIN);
            compare_step(&what, *name, &g, op_cases[i].batch, NET_EVAL);
            graph_clear(&g);
        }
    }
}

static void the_small_network_agrees_with_ref(void **state)
{
    const struct subject small = {"small network", NETWORK_TOLERANCE};
    (void)state;
    for (const char *const *name = net_fixture_backends(); *name; name++) {
        for (int freeze = RESNET_FREEZE_NONE; freeze <= RESNET_FREEZE_BACKBONE;
             freeze++) {
            struct graph g;
            small_net_build(&g, 0.5, freeze, freeze % 2);
            compare_step(&small, *name, &g, 3, NET_TRAIN);
            compare_step(&small, *name, &g, 3, NET_EVAL);
            graph_clear(&g);
        }
    }
}

/* Both backends get the same gradient, so only rounding may differ. */
static void compare_update(const char *name, const struct optim *optim)
{
    const struct subject what = {"update", TOLERANCE};
    struct graph g;
    struct net_fixture a, b;
    small_net_build(&g, 0, RESNET_FREEZE_LAYER1, false);
    net_fixture_open(&a, name, &g, 2, NET_TRAIN, optim);
    net_fixture_open(&b, "ref", &g, 2, NET_TRAIN, optim);
    net_fixture_fill(&a, 5);
    net_fixture_fill(&b, 5);
    for (int step = 1; step <= 3; step++) {
        struct result results[2];
        a.scalars.step = b.scalars.step = (uint64_t)step;
        net_fixture_stage(&a);
        net_fixture_stage(&b);
        net_fixture_backward(&a);
        net_fixture_backward(&b);
        float *same = net_fixture_get(&b, &b.exchange);
        assert_int_equal(a.backend.ops->put(&a.backend, &g, &a.exchange, same),
                         VD_OK);
        free(same);
        struct update_result x = net_fixture_update(&a);
        struct update_result y = net_fixture_update(&b);
        assert_true(x.outcome == UPDATE_APPLIED && y.outcome == UPDATE_APPLIED);
        assert_near(x.grad_norm, y.grad_norm, 1e-5 * y.grad_norm);
        net_fixture_results(&a, results);
        net_fixture_results(&b, results);
    }
    const struct buf *mine[] = {&a.weights.param, &a.weights.m, &a.weights.v,
                                &a.weights.stats};
    const struct buf *theirs[] = {&b.weights.param, &b.weights.m, &b.weights.v,
                                  &b.weights.stats};
    for (int i = 0; i < 4; i++) {
        float *x = net_fixture_get(&a, mine[i]),
              *y = net_fixture_get(&b, theirs[i]);
        if (i == 3)
            compare_table(&what, g.stats, g.n_stats_tensors, x, y);
        for (int k = 0; i < 3 && k < g.n_param_tensors; k++) {
            if (i == 0 || g.params[k].trainable)
                compare_table(&what, &g.params[k], 1, x, y);
        }
        free(x);
        free(y);
    }
    net_fixture_close(&a);
    net_fixture_close(&b);
    graph_clear(&g);
}

static void updates_of_every_rule_agree_with_ref(void **state)
{
    (void)state;
    for (const char *const *name = net_fixture_backends(); *name; name++) {
        struct optim optim = net_fixture_adam();
        compare_update(*name, &optim);
        optim.weight_decay = 0.1;
        compare_update(*name, &optim);
        optim.rule = OPTIM_ADAMW;
        optim.clip_norm = 0.5;
        compare_update(*name, &optim);
        optim.rule = OPTIM_SGD;
        optim.momentum = 0.9;
        compare_update(*name, &optim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_agrees_with_ref),
        cmocka_unit_test(the_small_network_agrees_with_ref),
        cmocka_unit_test(updates_of_every_rule_agree_with_ref),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
