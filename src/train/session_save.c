/*
 * Saves a session: checkpoints during training, weight files at the end.
 *
 * Rank 0 copies all values from the device into a snapshot and passes it to the
 * writer thread (run/checkpoint_writer.h), so training waits only for the copy.
 * Order on disk: first metrics.csv and steps.jsonl, whose lengths the snapshot
 * records, then the checkpoint, then its links. Non-finite values, which
 * reading would reject, are not written.
 */
#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "run/trained_model.h"
#include "store/atomic.h"
#include "train/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill_metadata(struct session *s, struct checkpoint *c, bool best)
{
    const struct shard_set *train = &s->data.train;
    struct text yaml = {0};
    options_format_yaml(s->options, false, &yaml);
    c->config = yaml.bytes;
    s->state.total = s->plan.last_step;
    s->state.metrics_bytes = s->folder.metrics.length;
    s->state.steps_bytes = s->folder.steps.length;
    memcpy(s->state.sums, s->losses.sums, sizeof s->state.sums);
    c->state = train_state_format(&s->state);
    c->step = s->state.step;
    c->size = train->width;
    c->best = best;
    c->n_classes = train->n_classes;
    c->classes = xcalloc((size_t)c->n_classes, sizeof *c->classes);
    for (int k = 0; k < c->n_classes; k++)
        c->classes[k] = xstrdup(train->classes[k]);
}

static enum vd_err check_values(const struct session *s,
                                const struct checkpoint *c)
{
    char where[64];
    snprintf(where, sizeof where, "after step %llu",
             (unsigned long long)s->state.step);
    return checkpoint_check_values(
        c, &s->engine.graph, VD_NUMERIC, where,
        "nothing of this step is saved; start a run of another name with a "
        "smaller --optim.lr or --optim.clip_norm 1");
}

static enum vd_err start_snapshot(struct session *s, bool best)
{
    enum vd_err err;
    struct checkpoint c = {0};
    VD_TRY_GOTO(out, err, engine_get(&s->engine, &c));
    VD_TRY_GOTO(out, err, engine_get_scaler(&s->engine, s->state.scaler));
    VD_TRY_GOTO(out, err, check_values(s, &c));
    fill_metadata(s, &c, best);
    VD_TRY_GOTO(out, err, append_file_sync(&s->folder.metrics));
    VD_TRY_GOTO(out, err, append_file_sync(&s->folder.steps));
    err = checkpoint_writer_start(s->writer, &c);
out:
    checkpoint_clear(&c);
    return err;
}

enum vd_err session_save(struct session *s, bool best)
{
    comm_enter(s->comm, SITE_CHECKPOINT, (int64_t)s->state.step,
               s->config->timeout.checkpoint);
    enum vd_err err = s->comm->rank == 0 ? start_snapshot(s, best) : VD_OK;
    return comm_agree(s->comm, SITE_CHECKPOINT, err);
}

/* ---- read back ---- */

static enum vd_err verify_file(struct session *s, const char *path,
                               int64_t *bytes)
{
    enum vd_err err;
    struct checkpoint memory = {0}, disk = {0};
    VD_TRY(checkpoint_writer_wait(s->writer));
    VD_TRY(file_drop_page_cache(path, bytes));
    VD_TRY_GOTO(out, err, checkpoint_read(&disk, path));
    VD_TRY_GOTO(out, err, engine_get(&s->engine, &memory));
    fill_metadata(s, &memory, disk.best);
    if (checkpoint_digest(&memory) != checkpoint_digest(&disk))
        err = VD_FAIL(VD_IO,
                      "%s: differs from what was written when read back\n"
                      "set --train.dir to a folder on another disk",
                      path);
out:
    checkpoint_clear(&memory);
    checkpoint_clear(&disk);
    return err;
}

enum vd_err session_verify_saved(struct session *s, int64_t *bytes)
{
    enum vd_err err = VD_OK;
    comm_enter(s->comm, SITE_CHECKPOINT, (int64_t)s->state.step,
               s->config->timeout.checkpoint);
    if (s->comm->rank == 0) {
        char *path = xasprintf("%s/last", s->folder.checkpoints);
        err = verify_file(s, path, bytes);
        free(path);
    }
    return comm_agree(s->comm, SITE_CHECKPOINT, err);
}

/* ---- weight files of a finished run ---- */

/* Writes checkpoints/NAME, if it exists, as weights/NAME.safetensors. */
static enum vd_err export_weights(const struct run_folder *folder,
                                  const char *name)
{
    enum vd_err err = VD_OK;
    struct trained_model m = {0};
    char *from = xasprintf("%s/%s", folder->checkpoints, name);
    char *to = xasprintf("%s/weights/%s.safetensors", folder->path, name);
    if (file_exists(from)) {
        err = trained_model_load_local(&m, from);
        if (err == VD_OK)
            err = trained_model_save_weights(&m, to);
        trained_model_clear(&m);
    }
    free(from);
    free(to);
    return err;
}

static enum vd_err export_all(const struct run_folder *folder)
{
    char *weights = run_folder_path(folder, "weights");
    enum vd_err err = file_make_folder(weights);
    if (err == VD_OK) {
        atomic_remove_stale(weights);
        err = export_weights(folder, "last");
    }
    if (err == VD_OK)
        err = export_weights(folder, "best");
    if (err == VD_OK && !folder->is_scratch)
        log_info("weights for other programs: %s", weights);
    free(weights);
    return err;
}

enum vd_err session_export(struct session *s)
{
    comm_enter(s->comm, SITE_REPORT, (int64_t)s->state.step,
               s->config->timeout.checkpoint);
    enum vd_err err = s->comm->rank == 0 ? export_all(&s->folder) : VD_OK;
    return comm_agree(s->comm, SITE_REPORT, err);
}
