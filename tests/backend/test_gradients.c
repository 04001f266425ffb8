/*
 * Gradients of ref against central differences of its loss, which the test
 * reads in double from the net's memory. Parameters are floats, so the step is
 * the exact difference of two floats. It is small enough that a kink (ReLU,
 * pooling, L1) is rarely between the two points.
 */
#include "backend/cases.h"
#include "backend/net_fixture.h"

#include "backend/ref/ref_net.h"
#include "base/rng.h"
#include "model/resnet.h"

#define STEP 0x1p-20
/* Relative to the largest gradient of the tensor. The rounding errors of the
 * loss (1e-14), divided by the step, and of the gradient are far smaller. */
#define TOLERANCE 1e-5

static double compute_loss(struct net_fixture *f)
{
    struct result results[8];
    net_fixture_stage(f);
    net_fixture_forward(f);
    const double *loss = f->net->nodes[f->graph->n_nodes - 1].value;
    double sum = 0;
    for (int b = 0; b < f->batch; b++)
        sum += loss[b];
    net_fixture_results(f, results);
    return sum / f->batch;
}

static double central_difference(struct net_fixture *f, float *p)
{
    float kept = *p;
    *p = kept + (float)STEP;
    double high = *p, up = compute_loss(f);
    *p = kept - (float)STEP;
    double low = *p, down = compute_loss(f);
    *p = kept;
    return (up - down) / (high - low);
}

/* Checks `n` elements of every trainable tensor. */
static void check_graph(const char *what, const struct graph *g, int batch,
                        int n)
{
    struct net_fixture f;
    struct result results[8];
    struct optim optim = net_fixture_adam();
    net_fixture_open(&f, "ref", g, batch, NET_TRAIN, &optim);
    net_fixture_fill(&f, 21);
    net_fixture_stage(&f);
    net_fixture_backward(&f);
    net_fixture_results(&f, results);
    float *grad = net_fixture_get(&f, &f.exchange);
    for (int i = 0; i < g->n_param_tensors && g->params[i].trainable; i++) {
        const struct graph_tensor *t = &g->params[i];
        double most = 1e-3;
        for (size_t k = 0; k < t->count; k++)
            most = fmax(most, fabs((double)grad[t->offset + k]));
        for (int k = 0; k < n; k++) {
            double u = rng_uniform(9, RNG_TEST, (uint64_t)i, (uint32_t)k);
            size_t at = t->offset + (size_t)(u * (double)t->count);
            double d = central_difference(&f, &f.weights.param.data[at]);
            if (!(fabs(d - (double)grad[at]) <= TOLERANCE * most))
                fail_msg("%s: %s[%zu]: gradient %.9g, difference %.9g", what,
                         t->name, at - t->offset, (double)grad[at], d);
        }
    }
    free(grad);
    net_fixture_close(&f);
}

static void gradients_of_every_op_match_differences(void **state)
{
    (void)state;
    for (int i = 0; i < n_op_cases; i++) {
        struct graph g;
        op_case_build(&g, &op_cases[i]);
        check_graph(op_cases[i].name, &g, op_cases[i].batch, 5);
        graph_clear(&g);
    }
}

static void gradients_of_the_small_network_match_differences(void **state)
{
    (void)state;
    for (int fixed = 0; fixed < 2; fixed++) {
        struct graph g;
        small_net_build(&g, 0.5, fixed ? RESNET_FREEZE_LAYER2 : 0, fixed);
        check_graph("small network", &g, 3, 2);
        graph_clear(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_every_op_match_differences),
        cmocka_unit_test(gradients_of_the_small_network_match_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
