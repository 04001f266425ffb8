#include "bench/timing_table.h"

#include "base/alloc.h"

#include <stdlib.h>

static size_t rank_size(const struct timing_table *t)
{
    return (size_t)t->n_rows * (size_t)t->n_columns;
}

void timing_table_init(struct timing_table *t, int n_rows, int n_columns)
{
    *t = (struct timing_table){.n_rows = n_rows, .n_columns = n_columns};
    t->mine = xcalloc(rank_size(t), sizeof *t->mine);
}

void timing_table_clear(struct timing_table *t)
{
    free(t->mine);
    free(t->all);
    *t = (struct timing_table){0};
}

double *timing_table_row(struct timing_table *t, int row)
{
    return t->mine + (size_t)row * (size_t)t->n_columns;
}

enum vd_err timing_table_gather(struct timing_table *t, struct comm *comm)
{
    t->n_ranks = comm->size;
    t->all = xcalloc((size_t)comm->size * rank_size(t), sizeof *t->all);
    return comm_allgather(comm, SITE_REPORT, t->mine,
                          rank_size(t) * sizeof *t->mine, t->all);
}

static struct quantiles quantiles_at(const struct timing_table *t, int column,
                                     int rank)
{
    struct quantiles q;
    const double *rows = t->all + (size_t)rank * rank_size(t);
    double *values = xcalloc((size_t)t->n_rows, sizeof *values);
    for (int i = 0; i < t->n_rows; i++)
        values[i] = rows[i * t->n_columns + column];
    quantiles_compute(values, (size_t)t->n_rows, &q);
    free(values);
    return q;
}

int timing_table_slowest(const struct timing_table *t, int column)
{
    int slowest = 0;
    for (int r = 1; r < t->n_ranks; r++)
        if (quantiles_at(t, column, r).median >
            quantiles_at(t, column, slowest).median)
            slowest = r;
    return slowest;
}

void timing_table_column(const struct timing_table *t, int column, int rank,
                         struct timing *out)
{
    *out = (struct timing){.seconds = quantiles_at(t, column, rank)};
    out->least_rank = out->most_rank = out->seconds.median;
    for (int r = 0; r < t->n_ranks; r++) {
        double median = quantiles_at(t, column, r).median;
        if (median < out->least_rank)
            out->least_rank = median;
        if (median > out->most_rank)
            out->most_rank = median;
    }
}
