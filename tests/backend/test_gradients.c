/*
 * Gradients of ref against central differences of its loss, read in double
 * from inside the net. Parameters are floats, so the step is what two floats
 * are apart; it is small enough that hardly a kink (ReLU, pooling, L1) lies
 * between them.
 */
#include "backend/cases.h"
#include "backend/rig.h"

#include "backend/ref/net.h"
#include "base/rng.h"
#include "model/resnet.h"

#define STEP 0x1p-20
/* Of the tensor's largest gradient; what the loss's rounding (1e-14) over the
 * step and the gradient's own rounding make is far below. */
#define TOLERANCE 1e-5

static double loss_now(struct rig *r)
{
    struct result results[8];
    rig_stage(r);
    rig_forward(r);
    const double *loss = r->net->nodes[r->graph->n_nodes - 1].value;
    double sum = 0;
    for (int b = 0; b < r->batch; b++)
        sum += loss[b];
    rig_results(r, results);
    return sum / r->batch;
}

static double difference(struct rig *r, float *p)
{
    float kept = *p;
    *p = kept + (float)STEP;
    double high = *p, up = loss_now(r);
    *p = kept - (float)STEP;
    double low = *p, down = loss_now(r);
    *p = kept;
    return (up - down) / (high - low);
}

/* `n` elements of every trainable tensor. */
static void check_graph(const char *what, const struct graph *g, int batch,
                        int n)
{
    struct rig r;
    struct result results[8];
    struct optim optim = rig_adam();
    rig_open(&r, "ref", g, batch, NET_TRAIN, &optim);
    rig_fill(&r, 21);
    rig_stage(&r);
    rig_backward(&r);
    rig_results(&r, results);
    float *grad = rig_get(&r, &r.exchange);
    for (int i = 0; i < g->n_param_tensors && g->params[i].trainable; i++) {
        const struct graph_tensor *t = &g->params[i];
        double most = 1e-3;
        for (size_t k = 0; k < t->count; k++)
            most = fmax(most, fabs((double)grad[t->offset + k]));
        for (int k = 0; k < n; k++) {
            double u = rng_uniform(9, RNG_TEST, (uint64_t)i, (uint32_t)k);
            size_t at = t->offset + (size_t)(u * (double)t->count);
            double d = difference(&r, &r.weights.param.data[at]);
            if (!(fabs(d - (double)grad[at]) <= TOLERANCE * most))
                fail_msg("%s: %s[%zu]: gradient %.9g, difference %.9g", what,
                         t->name, at - t->offset, (double)grad[at], d);
        }
    }
    free(grad);
    rig_close(&r);
}

static void every_op_has_its_gradient(void **state)
{
    (void)state;
    for (int i = 0; i < n_op_cases; i++) {
        struct graph g;
        op_case_build(&g, &op_cases[i]);
        check_graph(op_cases[i].name, &g, op_cases[i].batch, 5);
        graph_clear(&g);
    }
}

static void the_small_network_has_its_gradient(void **state)
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
        cmocka_unit_test(every_op_has_its_gradient),
        cmocka_unit_test(the_small_network_has_its_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
