#include "train/dry_run.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/stop.h"
#include "train/trainer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Timed steps, after a first one: as many as fit, at least MIN_STEPS. */
#define STEPS_S   5.0
#define MIN_STEPS 2
#define MAX_STEPS 20

#define EXTRA_CHECKPOINTS 2 /* the best, the one being written */

/* What a rank knows of itself. */
struct usage {
    int64_t peak_bytes;
    double waited_s;
};

struct dry_run {
    struct trainer *t;
    struct text *report;
    bool finished;          /* the run has nothing left to do */
    double first_s, step_s; /* the cold one; mean of the timed ones */
    int n_steps;            /* timed */
    struct usage max_usage; /* of all ranks: the largest of each */
    int peak_rank, waited_rank;
    size_t n_timed_batches; /* batches of the validation */
    double validate_s;      /* those took */
    double write_s;         /* a checkpoint, there and back */
    int64_t bytes;          /* of a checkpoint */
    int64_t kept_bytes;     /* of the run's checkpoints that are there */
    int64_t export_bytes, free_bytes;
};

/* ---- steps ---- */

enum { FLAG_STOP = 1, FLAG_DONE = 2 };

/* Agreed: does rank 0 have enough, does anybody want to stop? */
static enum vd_err agree_done(struct trainer *t, bool done, bool *all_done)
{
    uint32_t any = 0;
    uint32_t mine = (stop_signal() ? FLAG_STOP : 0u) |
                    (t->comm->rank == 0 && done ? FLAG_DONE : 0u);
    VD_TRY(comm_flags_start(t->comm, SITE_FLAGS, mine));
    VD_TRY(comm_flags_finish(t->comm, &any));
    *all_done = any & FLAG_DONE;
    return any & FLAG_STOP ? comm_agree(t->comm, SITE_STEP, VD_STOPPED) : VD_OK;
}

/* As in training, with its row in steps.jsonl. */
static enum vd_err time_first_step(struct dry_run *d)
{
    struct trainer *t = d->t;
    struct step_stats step;
    bool done;
    VD_TRY(trainer_step(t, &step));
    d->first_s = step.seconds;
    loss_meter_add(&t->loss_meter, &step, t->results);
    VD_TRY(loss_meter_flush(&t->loss_meter));
    return agree_done(t, false, &done);
}

static enum vd_err time_steps(struct dry_run *d)
{
    double sum = 0, waited = 0;
    for (bool done = false; !done;) {
        struct step_stats step;
        VD_TRY(trainer_step(d->t, &step));
        sum += step.seconds;
        waited += step.waited_s;
        d->n_steps++;
        bool enough = (sum >= STEPS_S && d->n_steps >= MIN_STEPS) ||
                      d->n_steps >= MAX_STEPS;
        VD_TRY(agree_done(d->t, enough, &done));
    }
    d->step_s = sum / d->n_steps;
    d->max_usage.waited_s = waited;
    return VD_OK;
}

/* ---- validation ---- */

static size_t n_batches(const struct trainer *t)
{
    size_t batch = (size_t)t->config->eval.batch;
    return (t->val.n_images + batch - 1) / batch;
}

/* One batch for every thread of every rank. */
static enum vd_err time_validation(struct dry_run *d)
{
    struct trainer *t = d->t;
    struct eval_means means;
    bool done;
    if (!t->has_val)
        return VD_OK;
    size_t all = n_batches(t);
    size_t n = (size_t)t->comm->size * (size_t)t->compute_threads;
    d->n_timed_batches = n < all ? n : all;
    evaluator_limit(t->evaluator, d->n_timed_batches);
    double begin = clock_now();
    VD_TRY(trainer_validate(t, &means));
    d->validate_s = clock_now() - begin;
    return agree_done(t, false, &done);
}

/* Of a whole validation: rounds of as many batches as were tried at once. */
static double validation_s(const struct dry_run *d)
{
    const struct trainer *t = d->t;
    size_t all = n_batches(t);
    return t->has_val
               ? d->validate_s * (double)((all + d->n_timed_batches - 1) /
                                          d->n_timed_batches)
               : 0;
}

/* ---- files ---- */

static int64_t folder_bytes(const char *folder,
                            bool (*counts)(const char *name))
{
    struct file_list list;
    int64_t sum = 0;
    if (!file_exists(folder) || file_list_read(&list, folder) != VD_OK)
        return 0;
    for (size_t i = 0; i < list.n; i++) {
        struct stat info;
        char *path = xasprintf("%s/%s", folder, list.names[i]);
        if (counts(list.names[i]) && lstat(path, &info) == 0)
            sum += info.st_size;
        free(path);
    }
    file_list_clear(&list);
    return sum;
}

static bool is_weights(const char *name)
{
    return strstr(name, ".safetensors") != NULL;
}

/* The room a run has from here on: free, and what goes with this scratch
 * session. */
static enum vd_err measure_disk(struct dry_run *d)
{
    struct statvfs disk;
    const struct run *run = &d->t->run;
    char *weights = run_path(run, "weights");
    d->export_bytes = folder_bytes(weights, is_weights);
    free(weights);
    d->kept_bytes = folder_bytes(run->own_checkpoints, checkpoint_is_name);
    if (statvfs(run->folder, &disk) < 0)
        return VD_FAIL(VD_IO, "%s: %s", run->folder, strerror(errno));
    d->free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize + d->bytes +
                    d->export_bytes;
    return VD_OK;
}

static enum vd_err time_checkpoint(struct dry_run *d)
{
    struct trainer *t = d->t;
    double begin = clock_now();
    VD_TRY(trainer_save(t, true));
    VD_TRY(trainer_verify_saved(t, &d->bytes));
    d->write_s = clock_now() - begin;
    VD_TRY(trainer_export(t));
    enum vd_err err = t->comm->rank == 0 ? measure_disk(d) : VD_OK;
    return comm_agree(t->comm, SITE_REPORT, err);
}

/* ---- all ranks ---- */

static enum vd_err gather_usage(struct dry_run *d)
{
    struct comm *comm = d->t->comm;
    struct usage *all = xcalloc((size_t)comm->size, sizeof *all);
    d->max_usage.peak_bytes = memory_peak();
    enum vd_err err = comm_allgather(comm, SITE_REPORT, &d->max_usage,
                                     sizeof d->max_usage, all);
    for (int r = 0; err == VD_OK && r < comm->size; r++) {
        if (all[r].peak_bytes > all[d->peak_rank].peak_bytes)
            d->peak_rank = r;
        if (all[r].waited_s > all[d->waited_rank].waited_s)
            d->waited_rank = r;
    }
    if (err == VD_OK)
        d->max_usage = (struct usage){all[d->peak_rank].peak_bytes,
                                      all[d->waited_rank].waited_s};
    free(all);
    return err;
}

/* ---- the report ---- */

static void add_duration(struct text *out, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (seconds < 10)
        text_add(out, "%.3g s", seconds);
    else if (s < 60)
        text_add(out, "%ld s", s);
    else if (s < 3600)
        text_add(out, "%ld min %02ld s", s / 60, s % 60);
    else
        text_add(out, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

static void add_size(struct text *out, int64_t bytes)
{
    double n = (double)bytes;
    if (bytes < 10000000000)
        text_add(out, "%.1f MB", n / 1e6);
    else
        text_add(out, "%.1f GB", n / 1e9);
}

static void report_start(const struct dry_run *d, uint64_t first)
{
    const struct trainer *t = d->t;
    struct text *out = d->report;
    text_add(out, "start        ");
    if (d->finished)
        text_add(out,
                 "%s has ended after step %llu of %llu: nothing to train\n",
                 t->run.own_folder, (unsigned long long)first,
                 (unsigned long long)t->last_step);
    else if (t->resume)
        text_add(out, "would go on after step %llu of %llu, from %s\n",
                 (unsigned long long)first, (unsigned long long)t->last_step,
                 t->resume);
    else
        text_add(out, "would begin %s anew, %llu steps\n", t->run.own_folder,
                 (unsigned long long)t->last_step);
}

static void report_steps(const struct dry_run *d)
{
    const struct trainer *t = d->t;
    struct text *out = d->report;
    double n = (double)t->batch.global_batch;
    text_add(out, "step         ");
    add_duration(out, d->step_s);
    text_add(out, ", %.1f images/s (mean of %d; the first took ", n / d->step_s,
             d->n_steps);
    add_duration(out, d->first_s);
    text_add(out, ")\nwaiting      %.1f %% of that for data (rank %d, %s)\n",
             100 * d->max_usage.waited_s / (d->step_s * d->n_steps),
             d->waited_rank, t->comm->hosts[d->waited_rank]);
    text_add(out, "epoch        ");
    add_duration(out, d->step_s * (double)t->train.n_images / n);
    text_add(out, " of %zu images (estimate)\nvalidation   ",
             t->train.n_images);
    if (t->has_val) {
        add_duration(out, validation_s(d));
        text_add(out, " of %zu images (estimate; %zu of %zu batches tried)\n",
                 t->val.n_images, d->n_timed_batches, n_batches(t));
    } else {
        text_add(out, "none: data.val is empty\n");
    }
}

/* Bytes that the run will hold at most. */
static int64_t needed_bytes(const struct dry_run *d)
{
    int64_t n = d->t->config->checkpoint.keep + EXTRA_CHECKPOINTS;
    return n * d->bytes + d->export_bytes;
}

static void report_files(const struct dry_run *d)
{
    const struct trainer *t = d->t;
    struct text *out = d->report;
    text_add(out, "checkpoint   ");
    add_size(out, d->bytes);
    text_add(out, ", written and read back in ");
    add_duration(out, d->write_s);
    text_add(out, ": the same bits\ndisk         ");
    add_size(out, needed_bytes(d));
    text_add(out, " for the run (checkpoint.keep %lld), ",
             (long long)t->config->checkpoint.keep);
    add_size(out, d->kept_bytes);
    text_add(out, " of them there; ");
    add_size(out, d->free_bytes);
    text_add(out, " free in %s\nmemory       ", t->config->train.dir);
    add_size(out, d->max_usage.peak_bytes);
    text_add(out, " at most (rank %d, %s)\n", d->peak_rank,
             t->comm->hosts[d->peak_rank]);
}

/* Epochs still to end that are validated; the one before the first step. */
static double validations(const struct dry_run *d, uint64_t first)
{
    const struct trainer *t = d->t;
    uint64_t n = t->train.n_images, every = (uint64_t)t->config->eval.every;
    uint64_t batch = (uint64_t)t->batch.global_batch;
    uint64_t epochs = t->last_step * batch / n;
    uint64_t all = (epochs + every - 1) / every; /* the last one is, too */
    uint64_t done = first * batch / n / every;
    return (double)(all - done) + (first == 0);
}

static void report_total(const struct dry_run *d, uint64_t first)
{
    const struct trainer *t = d->t;
    struct text *out = d->report;
    uint64_t steps = d->finished ? 0 : t->last_step - first;
    double seconds = (double)steps * d->step_s;
    if (steps > 0)
        seconds += validations(d, first) * validation_s(d);
    text_add(out, "whole run    ");
    add_duration(out, seconds);
    text_add(out, " for %llu steps and their validations (estimate)\n",
             (unsigned long long)steps);
}

static void warn_of_disk(const struct dry_run *d)
{
    struct text free_room = {0}, more = {0};
    int64_t missing = needed_bytes(d) - d->kept_bytes;
    add_size(&free_room, d->free_bytes);
    add_size(&more, missing);
    if (missing > d->free_bytes)
        log_warn("%s: %s free, the run needs %s more\n"
                 "make room, lower --checkpoint.keep, or give --train.dir a "
                 "folder on another disk",
                 d->t->config->train.dir, free_room.bytes, more.bytes);
    free(free_room.bytes);
    free(more.bytes);
}

static enum vd_err dry_run_body(struct trainer *t, void *ctx)
{
    struct dry_run *d = ctx;
    uint64_t first = t->state.step;
    d->t = t;
    d->finished = trainer_is_finished(t);
    VD_TRY(time_first_step(d));
    VD_TRY(trainer_check_memory(t));
    VD_TRY(time_steps(d));
    VD_TRY(time_validation(d));
    VD_TRY(time_checkpoint(d));
    VD_TRY(gather_usage(d));
    if (t->comm->rank != 0)
        return VD_OK;
    report_start(d, first);
    report_steps(d);
    report_files(d);
    report_total(d, first);
    warn_of_disk(d);
    return VD_OK;
}

enum vd_err dry_run(struct comm *comm, struct option_set *set,
                    struct config *config, char *const *argv,
                    struct text *report)
{
    struct dry_run d = {.report = report};
    const struct session_policy policy = {.body = dry_run_body, .ctx = &d};
    return trainer_run_session(comm, set, config, argv, &policy);
}
