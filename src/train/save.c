/* The state after a step, as a checkpoint; at the end, as weights. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "store/atomic.h"
#include "train/trained_model.h"
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum vd_err copy_values(struct trainer *t, struct checkpoint *c)
{
    const struct backend_ops *ops = t->backend.ops;
    const struct weights *w = &t->weights;
    VD_TRY(checkpoint_new(c, &t->graph));
    VD_TRY(ops->get(&t->backend, &t->graph, c->param, &w->param));
    VD_TRY(ops->get(&t->backend, &t->graph, c->m, &w->m));
    VD_TRY(ops->get(&t->backend, &t->graph, c->v, &w->v));
    return ops->get(&t->backend, &t->graph, c->stats, &w->stats);
}

static void fill_metadata(struct trainer *t, struct checkpoint *c, bool best)
{
    struct text yaml = {0};
    options_format_yaml(t->set, false, &yaml);
    c->config = yaml.bytes;
    t->state.total = t->last_step;
    t->state.metrics_bytes = t->run.metrics.length;
    t->state.steps_bytes = t->run.steps.length;
    memcpy(t->state.sums, t->loss_meter.sums, sizeof t->state.sums);
    c->state = state_format(&t->state);
    c->step = t->state.step;
    c->size = t->train.width;
    c->best = best;
    c->n_classes = t->train.n_classes;
    c->classes = xcalloc((size_t)c->n_classes, sizeof *c->classes);
    for (int k = 0; k < c->n_classes; k++)
        c->classes[k] = xstrdup(t->train.classes[k]);
}

/* A checkpoint that would not be accepted when it is read is not written. */
static enum vd_err check_values(const struct trainer *t,
                                const struct checkpoint *c)
{
    char where[64];
    snprintf(where, sizeof where, "after step %llu",
             (unsigned long long)t->state.step);
    return checkpoint_check_values(
        c, &t->graph, VD_NUMERIC, where,
        "nothing of this step is saved; start a run of another name with a "
        "smaller --optim.lr or --optim.clip_norm 1");
}

/* Rank 0: what the checkpoint says of the append files must be on disk first.
 */
static enum vd_err start_snapshot(struct trainer *t, bool best)
{
    struct checkpoint c = {0};
    enum vd_err err = copy_values(t, &c);
    if (err == VD_OK)
        err = check_values(t, &c);
    if (err == VD_OK) {
        fill_metadata(t, &c, best);
        err = append_file_sync(&t->run.metrics);
    }
    if (err == VD_OK)
        err = append_file_sync(&t->run.steps);
    if (err == VD_OK)
        err = checkpoint_writer_start(t->writer, &c);
    checkpoint_clear(&c);
    return err;
}

enum vd_err trainer_save(struct trainer *t, bool best)
{
    double limit = t->config->timeout.checkpoint;
    comm_enter(t->comm, SITE_CHECKPOINT, (int64_t)t->state.step, limit);
    enum vd_err err = t->comm->rank == 0 ? start_snapshot(t, best) : VD_OK;
    return comm_agree(t->comm, SITE_CHECKPOINT, err);
}

/* ---- read back ---- */

static enum vd_err verify_saved_file(struct trainer *t, const char *path,
                                     int64_t *bytes)
{
    enum vd_err err;
    struct checkpoint memory = {0}, disk = {0};
    VD_TRY(checkpoint_writer_wait(t->writer));
    VD_TRY(file_drop_page_cache(path, bytes));
    VD_TRY_GOTO(out, err, checkpoint_read(&disk, path));
    VD_TRY_GOTO(out, err, copy_values(t, &memory));
    fill_metadata(t, &memory, disk.best);
    if (checkpoint_digest(&memory) != checkpoint_digest(&disk))
        err = VD_FAIL(VD_IO,
                      "%s: read back, it differs from what was written\n"
                      "give --train.dir a folder on another disk",
                      path);
out:
    checkpoint_clear(&memory);
    checkpoint_clear(&disk);
    return err;
}

enum vd_err trainer_verify_saved(struct trainer *t, int64_t *bytes)
{
    double limit = t->config->timeout.checkpoint;
    enum vd_err err = VD_OK;
    comm_enter(t->comm, SITE_CHECKPOINT, (int64_t)t->state.step, limit);
    if (t->comm->rank == 0) {
        char *path = xasprintf("%s/last", t->run.checkpoints);
        err = verify_saved_file(t, path, bytes);
        free(path);
    }
    return comm_agree(t->comm, SITE_CHECKPOINT, err);
}

/* ---- the finished run's weights ---- */

/* checkpoints/NAME, if there is one, as weights/NAME.safetensors. */
static enum vd_err export_weights(const struct run *run, const char *name)
{
    enum vd_err err = VD_OK;
    struct trained_model m = {0};
    char *from = xasprintf("%s/%s", run->checkpoints, name);
    char *to = xasprintf("%s/weights/%s.safetensors", run->folder, name);
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

static enum vd_err export_all(const struct run *run)
{
    char *folder = run_path(run, "weights");
    enum vd_err err = file_make_folder(folder);
    if (err == VD_OK) {
        atomic_remove_stale(folder);
        err = export_weights(run, "last");
    }
    if (err == VD_OK)
        err = export_weights(run, "best");
    if (err == VD_OK && !run->scratch.folder)
        log_info("weights for other programs: %s", folder);
    free(folder);
    return err;
}

enum vd_err trainer_export(struct trainer *t)
{
    double limit = t->config->timeout.checkpoint;
    comm_enter(t->comm, SITE_REPORT, (int64_t)t->state.step, limit);
    enum vd_err err = t->comm->rank == 0 ? export_all(&t->run) : VD_OK;
    return comm_agree(t->comm, SITE_REPORT, err);
}
