#include "bench/table.h"

#include "base/mem.h"

#include <stdlib.h>

static size_t size_of(const struct table *t)
{
    return (size_t)t->n_rows * (size_t)t->n_columns;
}

void table_init(struct table *t, int n_rows, int n_columns)
{
    *t = (struct table){.n_rows = n_rows, .n_columns = n_columns};
    t->mine = mem_new(size_of(t), sizeof *t->mine);
}

void table_clear(struct table *t)
{
    free(t->mine);
    free(t->all);
    *t = (struct table){0};
}

double *table_row(struct table *t, int row)
{
    return t->mine + (size_t)row * (size_t)t->n_columns;
}

enum vd_err table_gather(struct table *t, struct comm *comm)
{
    t->n_ranks = comm->size;
    t->all = mem_new((size_t)comm->size * size_of(t), sizeof *t->all);
    return comm_allgather(comm, SITE_REPORT, t->mine,
                          size_of(t) * sizeof *t->mine, t->all);
}

static struct spread spread_at(const struct table *t, int column, int rank)
{
    struct spread s;
    const double *rows = t->all + (size_t)rank * size_of(t);
    double *values = mem_new((size_t)t->n_rows, sizeof *values);
    for (int i = 0; i < t->n_rows; i++)
        values[i] = rows[i * t->n_columns + column];
    spread_of(values, (size_t)t->n_rows, &s);
    free(values);
    return s;
}

int table_slowest(const struct table *t, int column)
{
    int slowest = 0;
    for (int r = 1; r < t->n_ranks; r++)
        if (spread_at(t, column, r).median >
            spread_at(t, column, slowest).median)
            slowest = r;
    return slowest;
}

void table_timing(const struct table *t, int column, int rank,
                  struct timing *out)
{
    *out = (struct timing){.s = spread_at(t, column, rank)};
    out->least_rank = out->most_rank = out->s.median;
    for (int r = 0; r < t->n_ranks; r++) {
        double median = spread_at(t, column, r).median;
        if (median < out->least_rank)
            out->least_rank = median;
        if (median > out->most_rank)
            out->most_rank = median;
    }
}
