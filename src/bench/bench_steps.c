/*
 * Whole training steps, measured twice: on images from shards through the
 * prefetch thread, and on one batch in memory, staged by this thread. The
 * difference is the cost of the input path that is not overlapped. Staging from
 * memory is timed but excluded from the step, as if it were fully overlapped.
 */
#include "base/clock.h"
#include "bench/bench.h"
#include "data/loader.h"
#include "train/stop.h"

/* Columns after the phases. */
enum { BUSY = BENCH_PHASES, WAIT_SHARE, STAGE_ONE, PROCESSOR, DEVICE, COLUMNS };

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

/* Cost of a step's input. */
struct input {
    double stage_s, wait_s;
    double excluded_s, excluded_processor_s; /* within the step's time */
};

/* The row of the last step. PROCESSOR is the time to exclude; time_rows()
 * replaces it by the time of the step. */
static void fill_row(const struct step *step, const struct input *input,
                     double device_s, double *row)
{
    const struct step_times *times = &step->times;
    double total = times->end - times->begin - input->excluded_s;
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
    row[PROCESSOR] = input->excluded_processor_s;
    row[DEVICE] = device_s;
}

/* Collective: one step; fills its row. */
typedef enum vd_err one_step_fn(void *ctx, double *row);

static enum vd_err time_rows(struct session *s, int n, one_step_fn *step,
                             void *ctx, struct timing_table *table)
{
    for (int i = -BENCH_WARMUP; i < n; i++) {
        double *row = timing_table_row(table, i < 0 ? 0 : i);
        double start = clock_cpu_time();
        VD_TRY(step(ctx, row));
        row[PROCESSOR] = clock_cpu_time() - start - row[PROCESSOR];
        VD_TRY(
            comm_agree(s->comm, SITE_STEP, stop_signal() ? VD_STOPPED : VD_OK));
    }
    return timing_table_gather(table, s->comm);
}

static enum vd_err measure_steps(struct session *s, int n, one_step_fn *step,
                                 void *ctx, struct bench_steps *out)
{
    struct timing_table table;
    timing_table_init(&table, n, COLUMNS);
    enum vd_err err = time_rows(s, n, step, ctx, &table);
    if (err == VD_OK) {
        struct timing share;
        out->slowest = timing_table_slowest(&table, BUSY);
        for (int p = 0; p < BENCH_PHASES; p++)
            timing_table_column(&table, p, out->slowest, &out->phases[p]);
        timing_table_column(&table, WAIT_SHARE, out->slowest, &share);
        out->wait_share = share.seconds.median;
        timing_table_column(&table, STAGE_ONE, out->slowest, &out->stage_one);
        timing_table_column(&table, PROCESSOR, out->slowest, &out->processor);
        timing_table_column(&table, DEVICE, out->slowest, &out->device);
        out->images_per_s = (double)s->plan.batch.global_batch /
                            out->phases[BENCH_TOTAL].seconds.median;
    }
    timing_table_clear(&table);
    return err;
}

/* ---- from shards ---- */

static enum vd_err step_from_shards(void *ctx, double *row)
{
    struct session *s = ctx;
    struct step_stats done;
    double before = prefetch_staged_s(s->engine.prefetch);
    VD_TRY(session_step(s, 0, &done));
    struct input input = {.stage_s =
                              prefetch_staged_s(s->engine.prefetch) - before,
                          .wait_s = done.waited_s};
    fill_row(&s->engine.step, &input, done.device_s, row);
    return VD_OK;
}

enum vd_err bench_steps_from_shards(struct session *s, int n,
                                    struct bench_steps *out)
{
    return measure_steps(s, n, step_from_shards, s, out);
}

/* ---- from memory ---- */

struct memory_input {
    struct session *session;
    const struct loaded_batch *batch;
    struct input input; /* of this step */
};

/* Replaces the prefetch thread. If that has already staged a micro-batch, each
 * step computes on the one staged before, which is the same amount of work. */
static enum vd_err stage_from_memory(void *ctx)
{
    struct memory_input *m = ctx;
    struct session *s = m->session;
    struct batch batch = {
        .items = m->batch->items,
        .pixels = (const uint8_t *const *)m->batch->pixels,
        .scalars = prefetch_step_scalars(&s->engine.input, s->state.step),
    };
    double start = clock_now(), processor = clock_cpu_time();
    VD_TRY(s->engine.backend.ops->stage(s->engine.net, &batch));
    m->input.stage_s += clock_now() - start;
    m->input.excluded_s = m->input.stage_s;
    m->input.excluded_processor_s += clock_cpu_time() - processor;
    return VD_OK;
}

/* All ranks get here together. A step without an update would distort the
 * timing. */
static enum vd_err fail_non_finite_bench(struct session *s)
{
    enum vd_err err = VD_NUMERIC;
    if (s->comm->rank == 0)
        err = VD_FAIL(VD_NUMERIC,
                      "step from memory: the loss or the gradient is not "
                      "finite\ngive a smaller --optim.lr");
    return comm_agree(s->comm, SITE_STEP, err);
}

static enum vd_err step_from_memory(void *ctx, double *row)
{
    struct memory_input *m = ctx;
    struct session *s = m->session;
    struct update_result update;
    comm_enter(s->comm, SITE_STEP, (int64_t)s->state.step + 1,
               s->config->timeout.step);
    m->input = (struct input){0};
    VD_TRY(step_launch(&s->engine.step, stage_from_memory, m));
    VD_TRY(step_collect(&s->engine.step, s->engine.results,
                        (int)s->plan.batch.micro_batch, &update));
    if (update.outcome == UPDATE_HALTED)
        return fail_non_finite_bench(s);
    s->state.step++;
    fill_row(&s->engine.step, &m->input, update.seconds, row);
    return VD_OK;
}

/* All steps use the first micro-batch, which is loaded once. */
enum vd_err bench_steps_from_memory(struct session *s, int n,
                                    struct bench_steps *out)
{
    struct loader *loader = NULL;
    struct loaded_batch *batch = NULL;
    struct loader_spec spec = {.data = &s->data.train,
                               .n_batches = 1,
                               .micro_batch = (int)s->plan.batch.micro_batch,
                               .threads = 1,
                               .fill = prefetch_fill,
                               .ctx = &s->engine.input};
    struct backend *b = &s->engine.backend;
    void *pinned = NULL;
    prefetch_free(s->engine.prefetch);
    s->engine.prefetch = NULL;
    enum vd_err err = loader_new(&loader, &spec);
    if (err == VD_OK) {
        size_t bytes;
        pinned = loader_memory(loader, &bytes);
        b->ops->pin(b, pinned, bytes);
        err = loader_next(loader, &batch);
    }
    err = comm_agree(s->comm, SITE_DATA, err);
    struct memory_input memory = {.session = s, .batch = batch};
    if (err == VD_OK)
        err = measure_steps(s, n, step_from_memory, &memory, out);
    if (pinned)
        b->ops->unpin(b, pinned);
    loader_free(loader);
    return err;
}
