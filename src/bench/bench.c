/*
 * Each part fills a table of timings, one row per repetition, and gathers it
 * over the ranks (bench/timing_table.h); the report has the column of the
 * slowest rank. Order: steps from shards, steps from memory, loader, exchange
 * (which repeats the ranges of the last step), checkpoints.
 */
#include "bench/bench.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "data/loader.h"
#include "train/stop.h"

#include <stdlib.h>
#include <string.h>

#define LOADER_BATCHES 10 /* per row: batches arrive in bursts */
#define SAVES          3

/* Gathers a table and reduces its first column. */
static enum vd_err gather_timing(struct timing_table *table, struct comm *comm,
                                 struct timing *first)
{
    VD_TRY(timing_table_gather(table, comm));
    timing_table_column(table, 0, timing_table_slowest(table, 0), first);
    return VD_OK;
}

/* Collective: VD_STOPPED, agreed, after a signal on any rank. */
static enum vd_err agree_not_stopped(struct session *s)
{
    return comm_agree(s->comm, SITE_REPORT, stop_signal() ? VD_STOPPED : VD_OK);
}

/* ---- the input path ---- */

/* One row: the mean time of LOADER_BATCHES micro-batches. */
static enum vd_err load_row(struct loader *l, double *row)
{
    double start = clock_now();
    for (int k = 0; k < LOADER_BATCHES; k++) {
        struct loaded_batch *batch;
        VD_TRY(loader_next(l, &batch));
        loader_release(l, batch);
    }
    *row = (clock_now() - start) / LOADER_BATCHES;
    return VD_OK;
}

/* The first row is not counted: it includes filling the threads' buffers. */
static enum vd_err load_rows(struct session *s, struct timing_table *table)
{
    enum vd_err err;
    struct loader *l = NULL;
    size_t rows = (size_t)table->n_rows + 1,
           ahead = (size_t)s->plan.loader_threads;
    struct loader_spec spec = {.data = &s->data.train,
                               .n_batches = rows * LOADER_BATCHES + ahead + 2,
                               .micro_batch = (int)s->plan.batch.micro_batch,
                               .threads = s->plan.loader_threads,
                               .fill = prefetch_fill,
                               .ctx = &s->engine.input};
    VD_TRY_GOTO(out, err, loader_new(&l, &spec));
    for (int i = -1; i < table->n_rows; i++) {
        err = stop_signal() ? VD_STOPPED : VD_OK; /* the caller agrees */
        if (err != VD_OK)
            goto out;
        comm_enter(s->comm, SITE_DATA, -1, s->config->timeout.step);
        VD_TRY_GOTO(out, err,
                    load_row(l, timing_table_row(table, i < 0 ? 0 : i)));
    }
out:
    loader_free(l);
    return err;
}

static enum vd_err measure_loader(struct session *s, int n,
                                  struct bench_report *out)
{
    struct timing_table table;
    timing_table_init(&table, n, 1);
    enum vd_err err = comm_agree(s->comm, SITE_DATA, load_rows(s, &table));
    if (err == VD_OK)
        err = gather_timing(&table, s->comm, &out->load_batch);
    out->load_images_per_s = (double)s->comm->size *
                             (double)s->plan.batch.micro_batch /
                             out->load_batch.seconds.median;
    timing_table_clear(&table);
    return err;
}

/* ---- the exchange ---- */

/* Bytes that the busiest rank sends: a slice of each of its partial sums to
 * each other rank (reduce-scatter), then its slice of the mean (all-gather). */
static size_t sent_bytes(const struct session *s, size_t bytes)
{
    size_t size = (size_t)s->comm->size, most = 0;
    for (int r = 0; r < s->comm->size; r++) {
        struct reduction_plan plan;
        reduction_plan_init_rank(&plan, r, s->comm->size,
                                 (int)s->plan.batch.replicas);
        if ((size_t)plan.n_partials > most)
            most = (size_t)plan.n_partials;
        reduction_plan_clear(&plan);
    }
    return (most + 1) * (bytes / size) * (size - 1);
}

/* Needs the ranges of at least one step. */
static enum vd_err measure_exchange(struct session *s, int n,
                                    struct bench_report *out)
{
    struct timing_table table;
    out->exchange_bytes = s->engine.graph.n_exchange * sizeof(float);
    out->step_s = out->memory.phases[BENCH_TOTAL].seconds.median -
                  out->memory.phases[BENCH_EXCHANGE].seconds.median;
    if (!strcmp(s->engine.step.exchange.ops->name, "none"))
        return VD_OK; /* nothing is sent: the fields stay zero */
    out->sent_bytes = sent_bytes(s, out->exchange_bytes);
    out->messages = s->engine.step.n_sent;
    timing_table_init(&table, n, 1);
    enum vd_err err = VD_OK;
    for (int i = 0; err == VD_OK && i < n; i++) {
        comm_enter(s->comm, SITE_REDUCE, -1, s->config->timeout.step);
        err = step_time_exchange(&s->engine.step, timing_table_row(&table, i));
        if (err == VD_OK)
            err = agree_not_stopped(s);
    }
    if (err == VD_OK)
        err = gather_timing(&table, s->comm, &out->exchange);
    out->gb_per_s =
        (double)out->sent_bytes / out->exchange.seconds.median / 1e9;
    timing_table_clear(&table);
    return err;
}

/* ---- checkpoints ---- */

enum { STALL, WRITE, READ, SAVE_COLUMNS };

/* Rank 0: waits until the file is on disk, then reads it. */
static enum vd_err write_and_read(struct session *s, double *row,
                                  int64_t *bytes)
{
    enum vd_err err;
    struct checkpoint c = {0};
    char *path = xasprintf("%s/last", s->folder.checkpoints);
    double start = clock_now();
    VD_TRY_GOTO(out, err, checkpoint_writer_wait(s->writer));
    row[WRITE] = clock_now() - start;
    VD_TRY_GOTO(out, err, file_drop_page_cache(path, bytes));
    start = clock_now();
    VD_TRY_GOTO(out, err, checkpoint_read(&c, path));
    row[READ] = clock_now() - start;
out:
    checkpoint_clear(&c);
    free(path);
    return err;
}

/* Collective: rank 0 saves a checkpoint, times it and broadcasts its row. */
static enum vd_err save_once(struct session *s, double *row, int64_t *bytes)
{
    double start = clock_now();
    VD_TRY(session_save(s, false));
    row[STALL] = clock_now() - start;
    enum vd_err err =
        s->comm->rank == 0 ? write_and_read(s, row, bytes) : VD_OK;
    VD_TRY(comm_agree(s->comm, SITE_CHECKPOINT, err));
    VD_TRY(agree_not_stopped(s));
    return comm_bcast(s->comm, SITE_CHECKPOINT, row, SAVE_COLUMNS * sizeof *row,
                      0);
}

static enum vd_err measure_checkpoint(struct session *s, int n,
                                      struct bench_report *out)
{
    struct timing_table table;
    enum vd_err err = VD_OK;
    timing_table_init(&table, n, SAVE_COLUMNS);
    for (int i = 0; i < n; i++)
        VD_TRY_GOTO(
            out, err,
            save_once(s, timing_table_row(&table, i), &out->checkpoint_bytes));
    VD_TRY_GOTO(out, err, timing_table_gather(&table, s->comm));
    timing_table_column(&table, STALL, 0, &out->stall);
    timing_table_column(&table, WRITE, 0, &out->write);
    timing_table_column(&table, READ, 0, &out->read);
out:
    timing_table_clear(&table);
    return err;
}

/* ---- all parts ---- */

static enum vd_err find_peak_memory(struct comm *comm, struct bench_report *out)
{
    int64_t mine = memory_peak();
    int64_t *all = xcalloc((size_t)comm->size, sizeof *all);
    enum vd_err err =
        comm_allgather(comm, SITE_REPORT, &mine, sizeof mine, all);
    for (int r = 0; r < comm->size; r++) {
        if (all[r] > out->peak_memory) {
            out->peak_memory = all[r];
            out->peak_rank = r;
        }
    }
    free(all);
    return err;
}

static enum vd_err measure_step_phases(struct session *s,
                                       struct bench_report *out)
{
    const struct bench_request *request = &out->request;
    int n = request->n_steps;
    if (request->step) {
        log_info("measuring steps from shards: %d + %d", BENCH_WARMUP, n);
        VD_TRY(bench_steps_from_shards(s, n, &out->shards));
    }
    log_info("measuring steps from memory: %d + %d", BENCH_WARMUP, n);
    VD_TRY(bench_steps_from_memory(s, n, &out->memory));
    return find_peak_memory(s->comm, out);
}

static enum vd_err measure_requested(struct session *s,
                                     struct bench_report *out)
{
    const struct bench_request *request = &out->request;
    if (request->step || request->loader || request->exchange)
        VD_TRY(measure_step_phases(s, out));
    if (request->loader) {
        log_info("measuring the loader");
        VD_TRY(measure_loader(s, request->n_steps, out));
    }
    if (request->exchange) {
        log_info("measuring the exchange");
        VD_TRY(measure_exchange(s, request->n_steps, out));
    }
    if (request->checkpoint) {
        log_info("measuring checkpoints");
        VD_TRY(measure_checkpoint(s, SAVES, out));
    }
    return VD_OK;
}

enum vd_err bench_measure(struct session *s,
                          const struct bench_request *request,
                          struct bench_report *out)
{
    struct bench_report report = {.request = *request,
                                  .load = machine_load_average(),
                                  .processor = machine_cpu_model()};
    enum vd_err err = measure_requested(s, &report);
    if (err == VD_OK)
        *out = report;
    else
        bench_report_clear(&report);
    return err;
}

void bench_report_clear(struct bench_report *report)
{
    free(report->processor);
    *report = (struct bench_report){0};
}
