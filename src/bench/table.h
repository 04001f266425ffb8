/*
 * What repeats of something took on every rank: a row per repeat, a column per
 * part of it, in seconds.
 *
 *     table_init(&t, 10, 2);
 *     table_row(&t, i)[0] = ...              each rank its own
 *     VD_TRY(table_gather(&t, comm));        from here on, all ranks' rows
 *     table_timing(&t, 0, table_slowest(&t, 0), &timing);
 */
#ifndef VOCDIST_BENCH_TABLE_H
#define VOCDIST_BENCH_TABLE_H

#include "comm/comm.h"
#include "report/spread.h"

struct table {
    int n_rows, n_columns, n_ranks;
    double *mine; /* [n_rows, n_columns], owned */
    double *all;  /* [n_ranks, n_rows, n_columns], owned; after gather */
};

/* One column: of one rank, and the least and the largest of the ranks'
 * medians. */
struct timing {
    struct spread s;
    double least_rank, most_rank;
};

/* Local, all but gather. */
void table_init(struct table *t, int n_rows, int n_columns);
void table_clear(struct table *t);
double *table_row(struct table *t, int row);
/* Collective. */
enum vd_err table_gather(struct table *t, struct comm *comm) VD_MUST_USE;
/* The rank with the largest median of a column. */
int table_slowest(const struct table *t, int column);
void table_timing(const struct table *t, int column, int rank,
                  struct timing *out);

#endif
