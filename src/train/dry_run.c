/*
 * Measures each part once and extrapolates to the whole run.
 *
 * Steps: the first one, which is cold, is timed separately. Then rank 0 counts
 * MIN_STEPS to MAX_STEPS steps until their sum reaches STEPS_S seconds, and all
 * ranks agree on the end by a flag reduction.
 * Validation: one batch per thread and rank, scaled to the whole set.
 * Disk: checkpoint.keep files, the best one, and the one being written.
 * Run: the remaining steps, and a validation every eval.every epochs.
 */
#include "train/dry_run.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "run/checkpoint_folder.h"
#include "train/session.h"
#include "train/stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Timed steps after the first one. */
#define STEPS_S   5.0
#define MIN_STEPS 2
#define MAX_STEPS 20

#define EXTRA_CHECKPOINTS 2 /* the best, the one being written */

/* Of one rank. */
struct usage {
    int64_t peak_bytes;
    double waited_s;
};

struct dry_run {
    struct session *session;
    struct text *report;
    bool finished;          /* nothing is left to train */
    double first_s, step_s; /* the first step; mean of the timed ones */
    int n_steps;            /* timed */
    struct usage max_usage; /* maximum over ranks, each field */
    int peak_rank, waited_rank;
    size_t n_timed_batches; /* of the validation set */
    double validate_s;      /* time of those */
    double write_s;         /* to write and read back a checkpoint */
    int64_t bytes;          /* of a checkpoint */
    int64_t kept_bytes;     /* of the run's existing checkpoints */
    int64_t export_bytes, free_bytes;
};

/* ---- steps ---- */

enum { FLAG_STOP = 1, FLAG_DONE = 2 };

/* Collective: rank 0's `done`, on all ranks. VD_STOPPED, agreed, after a signal
 * on any rank. */
static enum vd_err agree_done(struct session *s, bool done, bool *all_done)
{
    uint32_t any = 0;
    uint32_t mine = (stop_signal() ? FLAG_STOP : 0u) |
                    (s->comm->rank == 0 && done ? FLAG_DONE : 0u);
    VD_TRY(comm_flags_start(s->comm, SITE_FLAGS, mine));
    VD_TRY(comm_flags_finish(s->comm, &any));
    *all_done = any & FLAG_DONE;
    return any & FLAG_STOP ? comm_agree(s->comm, SITE_STEP, VD_STOPPED) : VD_OK;
}

/* Also writes its row of steps.jsonl, as in training. */
static enum vd_err time_first_step(struct dry_run *d)
{
    struct session *s = d->session;
    struct step_stats step;
    bool done;
    VD_TRY(session_step(s, 0, &step));
    d->first_s = step.seconds;
    loss_meter_add(&s->losses, &step, s->engine.results);
    VD_TRY(loss_meter_flush(&s->losses));
    return agree_done(s, false, &done);
}

static enum vd_err time_steps(struct dry_run *d)
{
    double sum = 0, waited = 0;
    for (bool done = false; !done;) {
        struct step_stats step;
        VD_TRY(session_step(d->session, UINT64_MAX, &step));
        sum += step.seconds;
        waited += step.waited_s;
        d->n_steps++;
        bool enough = (sum >= STEPS_S && d->n_steps >= MIN_STEPS) ||
                      d->n_steps >= MAX_STEPS;
        VD_TRY(agree_done(d->session, enough, &done));
    }
    while (session_is_in_flight(d->session)) {
        struct step_stats untimed;
        VD_TRY(session_step(d->session, 0, &untimed));
    }
    d->step_s = sum / d->n_steps;
    d->max_usage.waited_s = waited;
    return VD_OK;
}

/* ---- validation ---- */

static size_t n_batches(const struct session *s)
{
    size_t batch = (size_t)s->config->eval.batch;
    return (s->data.val.n_images + batch - 1) / batch;
}

/* One batch for every thread of every rank. */
static enum vd_err time_validation(struct dry_run *d)
{
    struct session *s = d->session;
    struct eval_means means;
    bool done;
    if (!s->data.has_val)
        return VD_OK;
    size_t all = n_batches(s);
    size_t n = (size_t)s->comm->size * (size_t)s->plan.compute_threads;
    d->n_timed_batches = n < all ? n : all;
    evaluator_limit(s->evaluator, d->n_timed_batches);
    double begin = clock_now();
    VD_TRY(session_validate(s, &means));
    d->validate_s = clock_now() - begin;
    return agree_done(s, false, &done);
}

/* Estimate for the whole set: as many rounds of the timed batches as it has. */
static double validation_s(const struct dry_run *d)
{
    const struct session *s = d->session;
    size_t all = n_batches(s);
    return s->data.has_val
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

/* Free space for the run: what is free now, plus what the scratch folder
 * occupies. */
static enum vd_err measure_disk(struct dry_run *d)
{
    struct statvfs disk;
    const struct run_folder *folder = &d->session->folder;
    char *weights = run_folder_path(folder, "weights");
    d->export_bytes = folder_bytes(weights, is_weights);
    free(weights);
    d->kept_bytes = folder_bytes(folder->own_checkpoints, checkpoint_is_name);
    if (statvfs(folder->path, &disk) < 0)
        return VD_FAIL(VD_IO, "%s: %s", folder->path, strerror(errno));
    d->free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize + d->bytes +
                    d->export_bytes;
    return VD_OK;
}

static enum vd_err time_checkpoint(struct dry_run *d)
{
    struct session *s = d->session;
    double begin = clock_now();
    VD_TRY(session_save(s, true));
    VD_TRY(session_verify_saved(s, &d->bytes));
    d->write_s = clock_now() - begin;
    VD_TRY(session_export(s));
    enum vd_err err = s->comm->rank == 0 ? measure_disk(d) : VD_OK;
    return comm_agree(s->comm, SITE_REPORT, err);
}

/* ---- all ranks ---- */

static enum vd_err gather_usage(struct dry_run *d)
{
    struct comm *comm = d->session->comm;
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
    const struct session *s = d->session;
    struct text *out = d->report;
    text_add(out, "start        ");
    if (d->finished)
        text_add(out,
                 "%s ended after step %llu of %llu: nothing left to train\n",
                 s->folder.own_folder, (unsigned long long)first,
                 (unsigned long long)s->plan.last_step);
    else if (s->resume.path)
        text_add(out, "would resume after step %llu of %llu, from %s\n",
                 (unsigned long long)first,
                 (unsigned long long)s->plan.last_step, s->resume.path);
    else
        text_add(out, "would start %s from step 0, %llu steps\n",
                 s->folder.own_folder, (unsigned long long)s->plan.last_step);
}

static void report_steps(const struct dry_run *d)
{
    const struct session *s = d->session;
    struct text *out = d->report;
    double n = (double)s->plan.batch.global_batch;
    text_add(out, "step         ");
    add_duration(out, d->step_s);
    text_add(out, ", %.1f images/s (mean of %d; the first took ", n / d->step_s,
             d->n_steps);
    add_duration(out, d->first_s);
    text_add(out,
             ")\nwaiting      %.1f %% of that time for data (rank %d, %s)\n",
             100 * d->max_usage.waited_s / (d->step_s * d->n_steps),
             d->waited_rank, s->comm->hosts[d->waited_rank]);
    text_add(out, "epoch        ");
    add_duration(out, d->step_s * (double)s->data.train.n_images / n);
    text_add(out, " of %zu images (estimate)\nvalidation   ",
             s->data.train.n_images);
    if (s->data.has_val) {
        add_duration(out, validation_s(d));
        text_add(out, " of %zu images (estimate; %zu of %zu batches timed)\n",
                 s->data.val.n_images, d->n_timed_batches, n_batches(s));
    } else {
        text_add(out, "none: data.val is empty\n");
    }
}

/* The most bytes that the run occupies at a time. */
static int64_t needed_bytes(const struct dry_run *d)
{
    int64_t n = d->session->config->checkpoint.keep + EXTRA_CHECKPOINTS;
    return n * d->bytes + d->export_bytes;
}

static void report_files(const struct dry_run *d)
{
    const struct session *s = d->session;
    struct text *out = d->report;
    text_add(out, "checkpoint   ");
    add_size(out, d->bytes);
    text_add(out, ", written and read back in ");
    add_duration(out, d->write_s);
    text_add(out, ": bit-identical\ndisk         ");
    add_size(out, needed_bytes(d));
    text_add(out, " for the run (checkpoint.keep %lld), ",
             (long long)s->config->checkpoint.keep);
    add_size(out, d->kept_bytes);
    text_add(out, " of it in use now; ");
    add_size(out, d->free_bytes);
    text_add(out, " free in %s\nmemory       ", s->config->train.dir);
    add_size(out, d->max_usage.peak_bytes);
    text_add(out, " at most (rank %d, %s)\n", d->peak_rank,
             s->comm->hosts[d->peak_rank]);
}

/* Remaining validations, including the one before step 1. */
static double validations(const struct dry_run *d, uint64_t first)
{
    const struct session *s = d->session;
    uint64_t n = s->data.train.n_images,
             every = (uint64_t)s->config->eval.every;
    uint64_t batch = (uint64_t)s->plan.batch.global_batch;
    uint64_t epochs = s->plan.last_step * batch / n;
    uint64_t all =
        (epochs + every - 1) / every; /* always after the last epoch */
    uint64_t done = first * batch / n / every;
    return (double)(all - done) + (first == 0);
}

static void report_total(const struct dry_run *d, uint64_t first)
{
    const struct session *s = d->session;
    struct text *out = d->report;
    uint64_t steps = d->finished ? 0 : s->plan.last_step - first;
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
        log_warn(
            "%s: %s free, the run needs %s more\n"
            "free disk space, lower --checkpoint.keep, or set --train.dir to a "
            "folder on another disk",
            d->session->config->train.dir, free_room.bytes, more.bytes);
    free(free_room.bytes);
    free(more.bytes);
}

static enum vd_err dry_run_body(struct session *s, void *ctx)
{
    struct dry_run *d = ctx;
    uint64_t first = s->state.step;
    d->session = s;
    d->finished = session_is_finished(s);
    VD_TRY(time_first_step(d));
    VD_TRY(session_check_memory(s));
    VD_TRY(time_steps(d));
    VD_TRY(time_validation(d));
    VD_TRY(time_checkpoint(d));
    VD_TRY(gather_usage(d));
    if (s->comm->rank != 0)
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
    const struct session_policy policy = {.scratch_outputs = true,
                                          .n_steps = SESSION_UNLIMITED_STEPS,
                                          .body = dry_run_body,
                                          .ctx = &d};
    return session_run(comm, set, config, argv, &policy);
}
