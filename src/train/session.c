#include "train/session.h"

#include "base/alloc.h"

#include <stdlib.h>

void session_close(struct session *s)
{
    evaluator_free(s->evaluator); /* on the engine's backend */
    checkpoint_writer_free(s->writer);
    engine_close(&s->engine);
    loss_meter_clear(&s->losses);
    resume_clear(&s->resume);
    train_data_close(&s->data);
    run_folder_close(&s->folder);
}

bool session_has_all_steps(const struct session *s)
{
    return s->state.step >= s->plan.last_step;
}

bool session_is_finished(const struct session *s)
{
    uint64_t patience = (uint64_t)s->config->train.patience;
    return session_has_all_steps(s) ||
           (patience > 0 && s->state.epochs_without_improvement >= patience);
}

enum vd_err session_step(struct session *s, uint64_t until,
                         struct step_stats *done)
{
    VD_TRY(engine_step(&s->engine, until, done));
    s->state.step++;
    return VD_OK;
}

bool session_is_in_flight(const struct session *s)
{
    return engine_last_launched(&s->engine) > s->state.step;
}

enum vd_err session_validate(struct session *s, struct eval_means *means)
{
    struct eval_summary summary = {0};
    struct eval_row *rows = NULL;
    comm_enter(s->comm, SITE_EVAL, (int64_t)s->state.step,
               s->config->timeout.setup);
    if (s->comm->rank == 0)
        rows = xcalloc(s->data.val.n_images, sizeof *rows);
    enum vd_err err = s->engine.backend.ops->release_workspace(s->engine.net);
    if (err == VD_OK)
        err = evaluator_run(s->evaluator, s->comm, rows, &summary);
    *means = summary.means;
    eval_summary_clear(&summary);
    free(rows);
    return err;
}
