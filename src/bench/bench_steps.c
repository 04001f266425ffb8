/* Whole training steps, on images from shards and from memory. */
#include "base/clock.h"
#include "bench/bench.h"
#include "data/loader.h"
#include "train/stop.h"

/* Columns behind the phases. */
enum { BUSY = BENCH_PHASES, WAIT_SHARE, STAGE_ONE, PROCESSOR, COLUMNS };

const char *bench_phase_name(enum bench_phase phase)
{
    static const char *const names[BENCH_PHASES] = {
        [BENCH_STAGE] = "stage",       [BENCH_WAIT] = "wait",
        [BENCH_FORWARD] = "forward",   [BENCH_BACKWARD] = "backward",
        [BENCH_EXCHANGE] = "exchange", [BENCH_UPDATE] = "update",
        [BENCH_OTHER] = "other",       [BENCH_TOTAL] = "total",
    };
    return names[phase];
}

/* What the input of a step has cost. */
struct input {
    double stage_s, wait_s;
    double apart_s, apart_processor_s; /* part of the step, not counted */
};

/* A row from the last step; as PROCESSOR what is not to be counted. */
static void fill_row(const struct step *step, const struct input *input,
                     double *row)
{
    const struct step_times *times = &step->times;
    double total = times->end - times->begin - input->apart_s;
    row[BENCH_STAGE] = input->stage_s;
    row[BENCH_WAIT] = input->wait_s;
    row[BENCH_FORWARD] = times->forward_s;
    row[BENCH_BACKWARD] = times->backward_s;
    row[BENCH_EXCHANGE] = times->exchange_s;
    row[BENCH_UPDATE] = times->update_s;
    row[BENCH_TOTAL] = row[BENCH_OTHER] = total;
    for (int p = BENCH_WAIT; p < BENCH_OTHER; p++)
        row[BENCH_OTHER] -= row[p];
    row[BUSY] = total - times->exchange_s;
    row[WAIT_SHARE] = input->wait_s / total;
    row[STAGE_ONE] = input->stage_s / step->plan.n_inputs;
    row[PROCESSOR] = input->apart_processor_s;
}

/* Collective: one step, and its row. */
typedef enum vd_err one_step_fn(void *ctx, double *row);

static enum vd_err time_rows(struct trainer *t, int n, one_step_fn *step,
                             void *ctx, struct timing_table *table)
{
    for (int i = -BENCH_WARMUP; i < n; i++) {
        double *row = timing_table_row(table, i < 0 ? 0 : i);
        double start = clock_cpu_time();
        VD_TRY(step(ctx, row));
        row[PROCESSOR] = clock_cpu_time() - start - row[PROCESSOR];
        VD_TRY(
            comm_agree(t->comm, SITE_STEP, stop_signal() ? VD_STOPPED : VD_OK));
    }
    return timing_table_gather(table, t->comm);
}

static enum vd_err measure_steps(struct trainer *t, int n, one_step_fn *step,
                                 void *ctx, struct bench_steps *out)
{
    struct timing_table table;
    timing_table_init(&table, n, COLUMNS);
    enum vd_err err = time_rows(t, n, step, ctx, &table);
    if (err == VD_OK) {
        struct timing share;
        out->slowest = timing_table_slowest(&table, BUSY);
        for (int p = 0; p < BENCH_PHASES; p++)
            timing_table_column(&table, p, out->slowest, &out->phases[p]);
        timing_table_column(&table, WAIT_SHARE, out->slowest, &share);
        out->wait_share = share.seconds.median;
        timing_table_column(&table, STAGE_ONE, out->slowest, &out->stage_one);
        timing_table_column(&table, PROCESSOR, out->slowest, &out->processor);
        out->images_per_s = (double)t->batch.global_batch /
                            out->phases[BENCH_TOTAL].seconds.median;
    }
    timing_table_clear(&table);
    return err;
}

/* ---- from shards ---- */

static enum vd_err step_from_shards(void *ctx, double *row)
{
    struct trainer *t = ctx;
    struct step_stats done;
    double before = prefetch_staged_s(t->prefetch);
    VD_TRY(trainer_step(t, &done));
    struct input input = {.stage_s = prefetch_staged_s(t->prefetch) - before,
                          .wait_s = done.waited_s};
    fill_row(&t->step, &input, row);
    return VD_OK;
}

enum vd_err bench_steps_from_shards(struct trainer *t, int n,
                                    struct bench_steps *out)
{
    return measure_steps(t, n, step_from_shards, t, out);
}

/* ---- from memory ---- */

struct memory_input {
    struct trainer *t;
    const struct loaded_batch *batch;
    struct input input; /* of this step */
};

/* In place of the prefetch thread. (Where it has staged one micro-batch
 * already, each step computes on the one before: equal work.) */
static enum vd_err stage_from_memory(void *ctx)
{
    struct memory_input *m = ctx;
    struct trainer *t = m->t;
    struct batch batch = {
        .items = m->batch->items,
        .pixels = (const uint8_t *const *)m->batch->pixels,
        .scalars = prefetch_step_scalars(&t->prefetch_spec, t->state.step),
    };
    double start = clock_now(), processor = clock_cpu_time();
    VD_TRY(t->backend.ops->stage(t->net, &batch));
    m->input.stage_s += clock_now() - start;
    m->input.apart_s = m->input.stage_s;
    m->input.apart_processor_s += clock_cpu_time() - processor;
    return VD_OK;
}

/* It is on all ranks; a step that changes nothing takes another time. */
static enum vd_err fail_non_finite_bench(struct trainer *t)
{
    enum vd_err err = VD_NUMERIC;
    if (t->comm->rank == 0)
        err = VD_FAIL(VD_NUMERIC,
                      "a step on images in memory: loss or gradient are not "
                      "finite\ngive a smaller --optim.lr");
    return comm_agree(t->comm, SITE_STEP, err);
}

static enum vd_err step_from_memory(void *ctx, double *row)
{
    struct memory_input *m = ctx;
    struct trainer *t = m->t;
    struct update_result update;
    comm_enter(t->comm, SITE_STEP, (int64_t)t->state.step + 1,
               t->config->timeout.step);
    m->input = (struct input){0};
    VD_TRY(step_run(&t->step, stage_from_memory, m, t->results,
                    (int)t->batch.micro_batch, &update));
    if (!update.finite)
        return fail_non_finite_bench(t);
    t->state.step++;
    fill_row(&t->step, &m->input, row);
    return VD_OK;
}

/* The data's first micro-batch, loaded once. */
enum vd_err bench_steps_from_memory(struct trainer *t, int n,
                                    struct bench_steps *out)
{
    struct loader *loader = NULL;
    struct loaded_batch *batch = NULL;
    struct loader_spec spec = {.data = &t->train,
                               .n_batches = 1,
                               .micro_batch = (int)t->batch.micro_batch,
                               .threads = 1,
                               .fill = prefetch_fill,
                               .ctx = &t->prefetch_spec};
    prefetch_free(t->prefetch);
    t->prefetch = NULL;
    enum vd_err err = loader_new(&loader, &spec);
    if (err == VD_OK)
        err = loader_next(loader, &batch);
    err = comm_agree(t->comm, SITE_DATA, err);
    struct memory_input memory = {.t = t, .batch = batch};
    if (err == VD_OK)
        err = measure_steps(t, n, step_from_memory, &memory, out);
    loader_free(loader);
    return err;
}
