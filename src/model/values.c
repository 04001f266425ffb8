#include "model/values.h"

#include <math.h>

/* The loop has no branch, so that the compiler vectorizes it: values are nearly
 * always valid. NaN fails both comparisons. */
static bool all_valid(const float *values, size_t n, bool is_variance)
{
    const float low = is_variance ? 0 : -INFINITY;
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (unsigned)!(values[i] >= low) |
               (unsigned)!(fabsf(values[i]) < INFINITY);
    return !bad;
}

size_t values_first_invalid(const float *values, size_t n, bool is_variance)
{
    if (all_valid(values, n, is_variance))
        return n;
    size_t i = 0;
    while (all_valid(values + i, 1, is_variance))
        i++;
    return i;
}

bool values_is_variance(int i)
{
    return i % 2 == 1; /* pairs of mean and variance */
}

/* One flat buffer, with its tensors in the order of `table`. */
struct value_buffer {
    const char *name;
    const float *values; /* or NULL */
    const struct graph_tensor *table;
    int n_tensors;
    bool is_variance;    /* every tensor is a variance */
    bool is_stats;       /* every second tensor is a variance */
    bool trainable_only; /* the buffer has no frozen tensors */
};

static bool find_in_buffer(const struct value_buffer *b,
                           struct invalid_value *invalid)
{
    for (int i = 0; b->values && i < b->n_tensors; i++) {
        const struct graph_tensor *t = &b->table[i];
        if (b->trainable_only && !t->trainable)
            continue;
        bool is_variance =
            b->is_variance || (b->is_stats && values_is_variance(i));
        size_t at =
            values_first_invalid(b->values + t->offset, t->count, is_variance);
        if (at == t->count)
            continue;
        *invalid = (struct invalid_value){b->name, t->name, at,
                                          b->values[t->offset + at]};
        return true;
    }
    return false;
}

bool values_find_invalid(const struct graph *g,
                         const struct network_values *values,
                         struct invalid_value *invalid)
{
    const struct value_buffer buffers[] = {
        {.name = "parameter",
         .values = values->param,
         .table = g->params,
         .n_tensors = g->n_param_tensors},
        {.name = "running statistic",
         .values = values->stats,
         .table = g->stats,
         .n_tensors = g->n_stats_tensors,
         .is_stats = true},
        {.name = "first moment",
         .values = values->m,
         .table = g->params,
         .n_tensors = g->n_param_tensors,
         .trainable_only = true},
        {.name = "second moment",
         .values = values->v,
         .table = g->params,
         .n_tensors = g->n_param_tensors,
         .is_variance = true,
         .trainable_only = true},
    };
    for (size_t k = 0; k < sizeof buffers / sizeof *buffers; k++)
        if (find_in_buffer(&buffers[k], invalid))
            return true;
    return false;
}

enum vd_err values_check(const struct graph *g,
                         const struct network_values *values, enum vd_err code,
                         const char *where, const char *remedy)
{
    struct invalid_value invalid;
    if (!values_find_invalid(g, values, &invalid))
        return VD_OK;
    return VD_FAIL(code, "%s: tensor %s: %s %zu is %g\n%s", where,
                   invalid.tensor, invalid.buffer, invalid.index,
                   (double)invalid.value, remedy);
}
