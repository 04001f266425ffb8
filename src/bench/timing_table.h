/*
 * Times of a repeated operation on all ranks: a row per repetition, a column
 * per part of the operation, in seconds.
 *
 *     timing_table_init(&t, 10, 2);
 *     timing_table_row(&t, i)[0] = ...       fills this rank's rows
 *     VD_TRY(timing_table_gather(&t, comm));  now has all ranks' rows
 *     timing_table_column(&t, 0, timing_table_slowest(&t, 0), &timing);
 */
#ifndef VOCDIST_BENCH_TIMING_TABLE_H
#define VOCDIST_BENCH_TIMING_TABLE_H

#include "base/quantiles.h"
#include "comm/comm.h"

struct timing_table {
    int n_rows, n_columns, n_ranks;
    double *mine; /* [n_rows, n_columns], owned */
    double *all;  /* [n_ranks, n_rows, n_columns], owned; after gather */
};

/* One column, in seconds. */
struct timing {
    struct quantiles seconds;     /* of one rank */
    double least_rank, most_rank; /* smallest, largest median of any rank */
};

/* Local: rows of zeros. */
void timing_table_init(struct timing_table *t, int n_rows, int n_columns);
void timing_table_clear(struct timing_table *t);
/* Local: [n_columns] of this rank, owned by the table. */
double *timing_table_row(struct timing_table *t, int row);
/* Collective, once, when all rows are filled. */
enum vd_err timing_table_gather(struct timing_table *t,
                                struct comm *comm) VD_MUST_USE;
/* Local, after gather: the rank with the largest median of a column. */
int timing_table_slowest(const struct timing_table *t, int column);
/* Local, after gather: the column of `rank`, with the medians of all ranks. */
void timing_table_column(const struct timing_table *t, int column, int rank,
                         struct timing *out);

#endif
