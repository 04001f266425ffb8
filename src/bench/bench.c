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

#define LOADER_BATCHES 10 /* a row's: threads hand them over in bursts */
#define SAVES          3

/* Gathers a table whose first column says who is slowest. */
static enum vd_err gather_timing(struct timing_table *table, struct comm *comm,
                                 struct timing *first)
{
    VD_TRY(timing_table_gather(table, comm));
    timing_table_column(table, 0, timing_table_slowest(table, 0), first);
    return VD_OK;
}

/* Agreed: has nobody been told to stop? */
static enum vd_err agree_not_stopped(struct trainer *t)
{
    return comm_agree(t->comm, SITE_REPORT, stop_signal() ? VD_STOPPED : VD_OK);
}

/* ---- the input path ---- */

/* Loads micro-batches for a row, in the time of one; threads that have filled
 * their places at the start are behind it after the first row. */
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

static enum vd_err load_rows(struct trainer *t, struct timing_table *table)
{
    enum vd_err err;
    struct loader *l = NULL;
    size_t rows = (size_t)table->n_rows + 1, ahead = (size_t)t->loader_threads;
    struct loader_spec spec = {.data = &t->train,
                               .n_batches = rows * LOADER_BATCHES + ahead + 2,
                               .micro_batch = (int)t->batch.micro_batch,
                               .threads = t->loader_threads,
                               .fill = prefetch_fill,
                               .ctx = &t->prefetch_spec};
    VD_TRY_GOTO(out, err, loader_new(&l, &spec));
    for (int i = -1; i < table->n_rows; i++) {
        err = stop_signal() ? VD_STOPPED : VD_OK; /* the caller agrees */
        if (err != VD_OK)
            goto out;
        comm_enter(t->comm, SITE_DATA, -1, t->config->timeout.step);
        VD_TRY_GOTO(out, err,
                    load_row(l, timing_table_row(table, i < 0 ? 0 : i)));
    }
out:
    loader_free(l);
    return err;
}

static enum vd_err measure_loader(struct trainer *t, int n,
                                  struct bench_report *out)
{
    struct timing_table table;
    timing_table_init(&table, n, 1);
    enum vd_err err = comm_agree(t->comm, SITE_DATA, load_rows(t, &table));
    if (err == VD_OK)
        err = gather_timing(&table, t->comm, &out->load_batch);
    out->load_images_per_s = (double)t->comm->size *
                             (double)t->batch.micro_batch /
                             out->load_batch.seconds.median;
    timing_table_clear(&table);
    return err;
}

/* ---- the exchange ---- */

/* What the rank that sends most sends: a share of each of its nodes to the
 * others, then its share of the mean. */
static size_t sent_bytes(const struct trainer *t, size_t bytes)
{
    size_t size = (size_t)t->comm->size, most = 0;
    for (int r = 0; r < t->comm->size; r++) {
        struct reduction_plan plan;
        reduction_plan_init_rank(&plan, r, t->comm->size,
                                 (int)t->batch.replicas);
        if ((size_t)plan.n_partials > most)
            most = (size_t)plan.n_partials;
        reduction_plan_clear(&plan);
    }
    return (most + 1) * (bytes / size) * (size - 1);
}

/* After a step at least. */
static enum vd_err measure_exchange(struct trainer *t, int n,
                                    struct bench_report *out)
{
    struct timing_table table;
    out->exchange_bytes = t->graph.n_exchange * sizeof(float);
    out->step_s = out->memory.phases[BENCH_TOTAL].seconds.median -
                  out->memory.phases[BENCH_EXCHANGE].seconds.median;
    if (!strcmp(t->step.exchange.ops->name, "none"))
        return VD_OK; /* nothing leaves this rank: all zero */
    out->sent_bytes = sent_bytes(t, out->exchange_bytes);
    out->messages = t->step.n_sent;
    timing_table_init(&table, n, 1);
    enum vd_err err = VD_OK;
    for (int i = 0; err == VD_OK && i < n; i++) {
        comm_enter(t->comm, SITE_REDUCE, -1, t->config->timeout.step);
        err = step_time_exchange(&t->step, timing_table_row(&table, i));
        if (err == VD_OK)
            err = agree_not_stopped(t);
    }
    if (err == VD_OK)
        err = gather_timing(&table, t->comm, &out->exchange);
    out->gb_per_s =
        (double)out->sent_bytes / out->exchange.seconds.median / 1e9;
    timing_table_clear(&table);
    return err;
}

/* ---- checkpoints ---- */

enum { STALL, WRITE, READ, SAVE_COLUMNS };

/* Rank 0: until the file just begun is on disk, then reading it. */
static enum vd_err write_and_read(struct trainer *t, double *row,
                                  int64_t *bytes)
{
    enum vd_err err;
    struct checkpoint c = {0};
    char *path = xasprintf("%s/last", t->run.checkpoints);
    double start = clock_now();
    VD_TRY_GOTO(out, err, checkpoint_writer_wait(t->writer));
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

/* Rank 0 saves, so its row is all ranks'. */
static enum vd_err save_once(struct trainer *t, double *row, int64_t *bytes)
{
    double start = clock_now();
    VD_TRY(trainer_save(t, false));
    row[STALL] = clock_now() - start;
    enum vd_err err =
        t->comm->rank == 0 ? write_and_read(t, row, bytes) : VD_OK;
    VD_TRY(comm_agree(t->comm, SITE_CHECKPOINT, err));
    VD_TRY(agree_not_stopped(t));
    return comm_bcast(t->comm, SITE_CHECKPOINT, row, SAVE_COLUMNS * sizeof *row,
                      0);
}

static enum vd_err measure_checkpoint(struct trainer *t, int n,
                                      struct bench_report *out)
{
    struct timing_table table;
    enum vd_err err = VD_OK;
    timing_table_init(&table, n, SAVE_COLUMNS);
    for (int i = 0; i < n; i++)
        VD_TRY_GOTO(
            out, err,
            save_once(t, timing_table_row(&table, i), &out->checkpoint_bytes));
    VD_TRY_GOTO(out, err, timing_table_gather(&table, t->comm));
    timing_table_column(&table, STALL, 0, &out->stall);
    timing_table_column(&table, WRITE, 0, &out->write);
    timing_table_column(&table, READ, 0, &out->read);
out:
    timing_table_clear(&table);
    return err;
}

/* ---- all of it ---- */

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

static enum vd_err measure_step_phases(struct trainer *t,
                                       struct bench_report *out)
{
    const struct bench_request *request = &out->request;
    int n = request->n_steps;
    if (request->step) {
        log_info("measuring steps from shards: %d + %d", BENCH_WARMUP, n);
        VD_TRY(bench_steps_from_shards(t, n, &out->shards));
    }
    log_info("measuring steps from memory: %d + %d", BENCH_WARMUP, n);
    VD_TRY(bench_steps_from_memory(t, n, &out->memory));
    return find_peak_memory(t->comm, out);
}

static enum vd_err measure_requested(struct trainer *t,
                                     struct bench_report *out)
{
    const struct bench_request *request = &out->request;
    if (request->step || request->loader || request->exchange)
        VD_TRY(measure_step_phases(t, out));
    if (request->loader) {
        log_info("measuring the loader");
        VD_TRY(measure_loader(t, request->n_steps, out));
    }
    if (request->exchange) {
        log_info("measuring the exchange");
        VD_TRY(measure_exchange(t, request->n_steps, out));
    }
    if (request->checkpoint) {
        log_info("measuring checkpoints");
        VD_TRY(measure_checkpoint(t, SAVES, out));
    }
    return VD_OK;
}

enum vd_err bench_measure(struct trainer *t,
                          const struct bench_request *request,
                          struct bench_report *out)
{
    struct bench_report report = {.request = *request,
                                  .load = machine_load_average(),
                                  .processor = machine_cpu_model()};
    enum vd_err err = measure_requested(t, &report);
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
