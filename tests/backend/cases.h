/* Small graphs with one op under test, for tests that run on every backend. */
#ifndef VOCDIST_TESTS_BACKEND_CASES_H
#define VOCDIST_TESTS_BACKEND_CASES_H

#include "model/graph.h"

/*
 * input -> 1x1 convolution "pre" (3 -> channels) -> op -> flatten ->
 * linear "head.fc" -> loss; for GRAPH_ADD the op adds two such convolutions.
 */
struct op_case {
    const char *name;
    enum graph_op op;
    int32_t size, channels; /* input of the op */
    int32_t out, kernel, stride, pad;
    int batch;
    double rate;
};

#define CASES_CLASSES 5

extern const struct op_case op_cases[];
extern const int n_op_cases;

/* Backward includes the gradient of the input. The caller calls graph_clear().
 */
void op_case_build(struct graph *g, const struct op_case *c);

/* A small ResNet: width 8, blocks 1,1,1,1, 64 pixels. `freeze` is an enum
 * resnet_freeze. The caller calls graph_clear(). */
void small_net_build(struct graph *g, double dropout, int freeze,
                     bool fixed_norms);

#endif
