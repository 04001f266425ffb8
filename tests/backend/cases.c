#include "backend/cases.h"

#include "model/resnet.h"

/* Odd sizes, channel counts that do not fill a vector, batches of 1 to 4. */
const struct op_case op_cases[] = {
    {"conv 3x3", GRAPH_CONV, 9, 5, 7, 3, 1, 1, 2, 0},
    {"conv 3x3 wide", GRAPH_CONV, 8, 16, 32, 3, 1, 1, 2, 0},
    {"conv 3x3 batch 1", GRAPH_CONV, 14, 8, 8, 3, 1, 1, 1, 0},
    {"conv 3x3/2", GRAPH_CONV, 9, 5, 7, 3, 2, 1, 3, 0},
    {"conv 3x3/2 even", GRAPH_CONV, 8, 16, 32, 3, 2, 1, 2, 0},
    {"conv 1x1/2", GRAPH_CONV, 9, 5, 7, 1, 2, 0, 2, 0},
    {"conv 1x1/2 even", GRAPH_CONV, 8, 16, 32, 1, 2, 0, 2, 0},
    {"conv 7x7/2", GRAPH_CONV, 17, 3, 8, 7, 2, 3, 2, 0},
    {"conv 7x7/2 even", GRAPH_CONV, 16, 3, 16, 7, 2, 3, 2, 0},
    /* Feature maps smaller than the kernel. */
    {"conv 3x3 of 2x2", GRAPH_CONV, 2, 16, 24, 3, 1, 1, 3, 0},
    {"conv 3x3 of 1x1", GRAPH_CONV, 1, 8, 16, 3, 1, 1, 4, 0},
    {"conv 3x3/2 of 2x2", GRAPH_CONV, 2, 5, 7, 3, 2, 1, 3, 0},
    {"conv 7x7/2 of 4x4", GRAPH_CONV, 4, 3, 8, 7, 2, 3, 2, 0},
    {"norm", GRAPH_NORM, 7, 6, 0, 0, 0, 0, 3, 0},
    {"norm of one plane", GRAPH_NORM, 1, 6, 0, 0, 0, 0, 3, 0},
    {"norm batch 1", GRAPH_NORM, 8, 16, 0, 0, 0, 0, 1, 0},
    {"relu", GRAPH_RELU, 7, 6, 0, 0, 0, 0, 2, 0},
    {"add", GRAPH_ADD, 7, 6, 0, 0, 0, 0, 2, 0},
    {"maxpool", GRAPH_MAXPOOL, 9, 6, 0, 3, 2, 1, 2, 0},
    {"maxpool even", GRAPH_MAXPOOL, 8, 16, 0, 3, 2, 1, 2, 0},
    {"linear", GRAPH_LINEAR, 3, 6, 11, 0, 0, 0, 3, 0},
    {"linear batch 1", GRAPH_LINEAR, 4, 16, 256, 0, 0, 0, 1, 0},
    {"dropout", GRAPH_DROPOUT, 7, 6, 0, 0, 0, 0, 3, 0.5},
    {"dropout .3", GRAPH_DROPOUT, 5, 6, 0, 0, 0, 0, 2, 0.3},
    {"loss", GRAPH_LOSS, 2, 3, 0, 0, 0, 0, 3, 0},
};
const int n_op_cases = (int)(sizeof op_cases / sizeof *op_cases);

static int add_op(struct graph *g, int x, const struct op_case *c)
{
    switch (c->op) {
    case GRAPH_CONV:
        return graph_conv(g, x, "op", c->out, c->kernel, c->stride, c->pad);
    case GRAPH_NORM:
        return graph_norm(g, x, "op");
    case GRAPH_RELU:
        return graph_relu(g, x);
    case GRAPH_ADD:
        return graph_add(g, x, graph_conv(g, 0, "other", c->channels, 1, 1, 0));
    case GRAPH_MAXPOOL:
        return graph_maxpool(g, x, c->kernel, c->stride, c->pad);
    case GRAPH_LINEAR:
        return graph_linear(g, graph_flatten(g, x), "op", c->out);
    case GRAPH_DROPOUT:
        return graph_dropout(g, x, c->rate);
    case GRAPH_INPUT:
    case GRAPH_FLATTEN:
    case GRAPH_LOSS:
        break;
    }
    return x;
}

void op_case_build(struct graph *g, const struct op_case *c)
{
    static double class_weights[CASES_CLASSES] = {0.5, 2, 1, 1.5, 0.25};
    struct graph_loss loss = {.size = c->size,
                              .classes = CASES_CLASSES,
                              .box_scale = 0.5,
                              .class_scale = 3,
                              .class_weights = class_weights};
    graph_init(g);
    int x = graph_input(g, c->size);
    x = graph_conv(g, x, "pre", c->channels, 1, 1, 0);
    x = add_op(g, x, c);
    x = graph_flatten(g, x);
    graph_loss(g, graph_linear(g, x, "head.fc", 4 + CASES_CLASSES), &loss);
    graph_finish(g, 0, false);
}

void small_net_build(struct graph *g, double dropout, int freeze,
                     bool fixed_norms)
{
    struct resnet_spec spec = {
        .size = 64,
        .width = 8,
        .blocks = {1, 1, 1, 1},
        .head_dropout = dropout,
        .freeze = (enum resnet_freeze)freeze,
        .fixed_norms = fixed_norms,
        .loss = {.classes = CASES_CLASSES, .box_scale = 1, .class_scale = 25}};
    resnet_build(g, &spec);
}
