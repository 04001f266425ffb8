/*
 * Valid values of a network: weights, optimizer moments and running statistics
 * are finite, and variances (running variances and the optimizer's second
 * moments) are not negative. This is checked at every load and before anything
 * is published. Checking the outputs is not enough: evaluation fuses ReLU into
 * convolutions, and a ReLU may turn NaN into 0, so the outputs of an invalid
 * network can look valid. Local.
 */
#ifndef VOCDIST_MODEL_VALUES_H
#define VOCDIST_MODEL_VALUES_H

#include "model/graph.h"

/* The flat buffers of a graph, in canonical layout; NULL: not checked. */
struct network_values {
    const float *param; /* [n_params] */
    const float *m, *v; /* [n_trainable] */
    const float *stats; /* [n_stats] */
};

/* The first invalid value. */
struct invalid_value {
    const char *buffer; /* "parameter", "second moment", ... */
    const char *tensor; /* borrowed from the graph */
    size_t index;       /* in the tensor, canonical order */
    float value;
};

/* True, and `invalid` written, if there is an invalid value. */
bool values_find_invalid(const struct graph *g,
                         const struct network_values *values,
                         struct invalid_value *invalid);

/* Index of the first value that is not finite or, for variances, is negative; n
 * if there is none. */
size_t values_first_invalid(const float *values, size_t n, bool is_variance);

/* True if tensor `i` of graph.stats is a running variance. */
bool values_is_variance(int i);

/* Raises `code` if values_find_invalid() is true: "WHERE: tensor NAME: second
 * moment 3 is nan", and `remedy` on the second line. */
enum vd_err values_check(const struct graph *g,
                         const struct network_values *values, enum vd_err code,
                         const char *where, const char *remedy) VD_MUST_USE;

#endif
