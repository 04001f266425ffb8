/*
 * Which values a network may have: weights, optimizer moments and running
 * statistics are finite, and variances (running variances and the optimizer's
 * second moments) are not negative. Checked at every load and before anything
 * is published: evaluation fuses ReLU into convolutions, and a ReLU may turn
 * NaN into 0, so the outputs of such a network can look sound. Local.
 */
#ifndef VOCDIST_MODEL_VALUES_H
#define VOCDIST_MODEL_VALUES_H

#include "model/graph.h"

/* The flat buffers of a graph, canonical; NULL: not there. */
struct network_values {
    const float *param; /* [n_params] */
    const float *m, *v; /* [n_trainable] */
    const float *stats; /* [n_stats] */
};

/* The first one that is not allowed. */
struct invalid_value {
    const char *buffer; /* "parameter", "second moment", ... */
    const char *tensor; /* borrowed from the graph */
    size_t index;       /* in the tensor, canonical order */
    float value;
};

/* True and `invalid` when there is one. */
bool values_find_invalid(const struct graph *g,
                         const struct network_values *values,
                         struct invalid_value *invalid);

/* Index of the first value that is not finite or, of variances, negative; n
 * when there is none. */
size_t values_first_invalid(const float *values, size_t n, bool is_variance);

/* Tensor `i` of graph.stats is a running variance. */
bool values_is_variance(int i);

/* `code` where values_find_invalid(): "WHERE: tensor NAME: second moment 3 is
 * nan", and the remedy on a line of its own. */
enum vd_err values_check(const struct graph *g,
                         const struct network_values *values, enum vd_err code,
                         const char *where, const char *remedy) VD_MUST_USE;

#endif
