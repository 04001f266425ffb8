/*
 * Opens a session by a table of phases. All ranks agree on each phase before
 * the next begins, so an error on one rank ends all of them at the same place
 * with one message. Local phases run on every rank; Root phases run on rank 0
 * while the others wait for the result; Collective phases return an agreed
 * result.
 *
 * Example, resuming on two ranks: open_data reads the manifests on both;
 * open_folder (Root) locks the run and reads its newest checkpoint;
 * broadcast_resume and apply_settings give both ranks its settings, so from
 * compare_config on both resolve the same batch, graph and network; rank 0
 * sends its tuning plan; load_values, send_values and put_values copy its
 * tensors to both devices; start_input prefetches for the remaining steps.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "base/machine.h"
#include "comm/phase.h"
#include "config/memory_hints.h"
#include "run/run_info.h"
#include "store/atomic.h"
#include "train/session.h"
#include "train/tuning.h"

#include <stdlib.h>
#include <string.h>

/* ---- data, run folder, settings ---- */

static enum vd_err open_data(struct session *s)
{
    return train_data_open(&s->data, s->config);
}

static enum vd_err compare_data(struct session *s)
{
    return train_data_compare(&s->data, s->comm);
}

static enum vd_err open_folder(struct session *s)
{
    const char *dir = s->config->train.dir, *name = s->config->train.name;
    VD_TRY(s->policy->scratch_outputs
               ? run_folder_open_scratch(&s->folder, dir, name)
               : run_folder_open(&s->folder, dir, name));
    return s->policy->fresh ? VD_OK
                            : resume_find(&s->resume, &s->folder, s->config);
}

static enum vd_err broadcast_resume(struct session *s)
{
    return resume_broadcast(&s->resume, s->comm);
}

static enum vd_err apply_settings(struct session *s)
{
    VD_TRY(train_plan_take_start_options(&s->plan, s->options, s->config));
    return resume_apply_settings(&s->resume, s->options, s->config);
}

static enum vd_err compare_config(struct session *s)
{
    return comm_check_equal(s->comm, SITE_CONFIG, "the configuration",
                            config_digest(s->options, CONFIG_CLASSES_ALL));
}

/* ---- plan ---- */

static enum vd_err divide_cores(struct session *s)
{
    return train_plan_divide_cores(&s->plan, s->comm, s->config);
}

/* The hints of a resumed run do not propose another batch, which is fixed. */
static void set_memory_hints(const struct session *s)
{
    struct memory_hints hints = {
        .batch = s->resume.path ? (struct batch_plan){0} : s->plan.batch,
        .eval_batch = s->data.has_val ? s->config->eval.batch : 0,
        .loader_threads = s->plan.loader_threads,
        .node_ranks = s->comm->node_size};
    memory_hints_set(&hints);
}

static enum vd_err resolve_plan(struct session *s)
{
    size_t n_images = s->data.train.n_images;
    VD_TRY(train_plan_resolve_batch(&s->plan, s->options, s->config,
                                    s->comm->size, n_images));
    set_memory_hints(s);
    return train_plan_resolve_steps(&s->plan, s->options, s->config, n_images);
}

/* ---- engine ---- */

static enum vd_err build_graph(struct session *s)
{
    return engine_build_graph(&s->engine);
}

static enum vd_err open_device(struct session *s)
{
    VD_TRY(engine_open_device(&s->engine));
    VD_TRY(tuning_resolve(&s->engine, &s->resume, s->options));
    return s->config->backend == BACKEND_AUTO
               ? train_plan_resolve(s->options, "backend", "%s",
                                    s->engine.backend.ops->name)
               : VD_OK;
}

static enum vd_err compare_devices(struct session *s)
{
    return engine_compare_devices(&s->engine);
}

static enum vd_err choose_tuning(struct session *s)
{
    return tuning_choose(&s->engine, &s->resume, &s->folder, &s->plan);
}

static enum vd_err broadcast_tuning(struct session *s)
{
    return tuning_broadcast(&s->engine);
}

static enum vd_err build_nets(struct session *s)
{
    struct engine *e = &s->engine;
    VD_TRY(tuning_set_path(e, s->options));
    VD_TRY(engine_build_net(e, &s->plan));
    if (!s->data.has_val)
        return VD_OK;
    struct net_spec spec = engine_net_spec(
        e, NET_EVAL, (int)s->config->eval.batch, s->plan.compute_threads);
    s->evaluator = evaluator_new(&e->backend, &spec, &s->data.val);
    return VD_OK;
}

static enum vd_err connect(struct session *s)
{
    return engine_connect(&s->engine);
}

/* ---- values of the first step ---- */

static enum vd_err load_values(struct session *s)
{
    const struct resume_run run = {.config = s->config,
                                   .data = &s->data,
                                   .plan = &s->plan,
                                   .graph = &s->engine.graph};
    return resume_load(&s->resume, &run, s->comm->rank == 0, &s->state);
}

static enum vd_err send_values(struct session *s)
{
    return resume_send_values(&s->resume, s->comm, &s->state);
}

static enum vd_err put_values(struct session *s)
{
    VD_TRY(engine_put(&s->engine, &s->resume.values, s->resume.path != NULL));
    checkpoint_clear(&s->resume.values);
    return engine_put_scaler(&s->engine, s->state.scaler);
}

/* ---- input and outputs ---- */

static uint64_t steps_to_prefetch(const struct session *s)
{
    if (s->policy->n_steps > 0)
        return s->policy->n_steps;
    return session_is_finished(s) ? 0 : s->plan.last_step - s->state.step;
}

static enum vd_err start_input(struct session *s)
{
    VD_TRY(engine_start_prefetch(&s->engine, &s->plan, s->state.step,
                                 steps_to_prefetch(s),
                                 s->policy->repeat_first_batch));
    s->losses =
        (struct loss_meter){.comm = s->comm,
                            .data = &s->data.train,
                            .loss = &s->engine.graph.loss,
                            .sampler = s->engine.input.sampler,
                            .steps_jsonl = &s->folder.steps,
                            .replicas = (int)s->plan.batch.replicas,
                            .micro_batch = (int)s->plan.batch.micro_batch,
                            .epoch = s->state.epoch};
    memcpy(s->losses.sums, s->state.sums, sizeof s->state.sums);
    loss_meter_init(&s->losses, (int)s->config->log.every);
    return VD_OK;
}

/* Results depend on device and instruction set to the bit; warns of a change.
 */
static void update_machine(struct session *s)
{
    char device[ENGINE_DEVICE_MAX], now[TRAIN_STATE_MACHINE_MAX];
    engine_describe_device(&s->engine, device, sizeof device);
    snprintf(now, sizeof now, "%s, %s", device, machine_isa());
    if (s->resume.path && strcmp(now, s->state.machine))
        log_warn("%s: was computed on %s, continues on %s: from here on the "
                 "bits differ from those of an uninterrupted run",
                 s->config->train.name, s->state.machine, now);
    memcpy(s->state.machine, now, sizeof now);
}

/* Settings that have no effect, or another one than expected. */
static void warn_of_settings(const struct session *s)
{
    uint64_t step = s->state.step, stop_at = s->plan.stop_at;
    if (session_is_finished(s))
        return;
    if (!s->policy->repeat_first_batch)
        schedule_warn(&s->engine.input.schedule, step, s->plan.last_step);
    if (stop_at > 0 && stop_at <= step)
        log_warn("train.stop_at: %llu is not after step %llu, from which this "
                 "run resumes: ignored\n"
                 "give a later step, or omit it",
                 (unsigned long long)stop_at, (unsigned long long)step);
}

static struct run_info describe_run(struct session *s)
{
    struct engine *e = &s->engine;
    struct backend *b = &e->backend;
    return (struct run_info){.options = s->options,
                             .config = s->config,
                             .argv = s->argv,
                             .comm = s->comm,
                             .train = &s->data.train,
                             .val = s->data.has_val ? &s->data.val : NULL,
                             .graph = &e->graph,
                             .batch = s->plan.batch,
                             .last_step = s->plan.last_step,
                             .peak_lr = e->input.schedule.lr,
                             .compute_threads = s->plan.compute_threads,
                             .loader_threads = s->plan.loader_threads,
                             .backend = b->ops->name,
                             .backend_details = b->ops->describe(b),
                             .machine = s->state.machine,
                             .exchange = e->step.exchange.ops->name,
                             .resumed_from = s->resume.path,
                             .saved_config = s->resume.saved_config,
                             .is_branch = s->resume.is_branch,
                             .step = s->state.step};
}

static enum vd_err save_config(const struct session *s)
{
    struct text yaml = {0};
    char *path = run_folder_path(&s->folder, "config.yaml");
    options_format_yaml(s->options, false, &yaml);
    enum vd_err err = atomic_write(path, yaml.bytes, yaml.length);
    free(yaml.bytes);
    free(path);
    return err;
}

static enum vd_err open_outputs(struct session *s)
{
    update_machine(s);
    struct run_info info = describe_run(s);
    run_info_log(&info, &s->folder);
    warn_of_settings(s);
    VD_TRY(tuning_save(&s->engine, &s->folder, &s->state));
    VD_TRY(save_config(s));
    VD_TRY(run_info_write(&info, &s->folder));
    VD_TRY(run_folder_open_append_files(&s->folder, &s->state));
    VD_TRY(checkpoint_writer_new(&s->writer, s->folder.checkpoints,
                                 &s->engine.graph,
                                 (int)s->config->checkpoint.keep));
    checkpoint_writer_set_guard(s->writer, run_folder_check_owner, &s->folder);
    return VD_OK;
}

/* ---- the order of phases ---- */

enum phase_kind {
    PHASE_LOCAL,      /* every rank; equal messages are printed once */
    PHASE_ROOT,       /* rank 0 only */
    PHASE_COLLECTIVE, /* agrees on its result itself */
};

struct phase {
    enum fault_site site;
    enum vd_err (*open)(struct session *s);
    enum phase_kind kind;
};

static const struct phase phases[] = {
    {SITE_DATA, open_data, PHASE_LOCAL},
    {SITE_DATA, compare_data, PHASE_COLLECTIVE},
    {SITE_RUN_FOLDER, open_folder, PHASE_ROOT},
    {SITE_RESUME, broadcast_resume, PHASE_COLLECTIVE},
    {SITE_RESUME, apply_settings, PHASE_LOCAL},
    {SITE_CONFIG, compare_config, PHASE_COLLECTIVE},
    {SITE_CORES, divide_cores, PHASE_COLLECTIVE},
    {SITE_CONFIG, resolve_plan, PHASE_LOCAL},
    {SITE_MODEL, build_graph, PHASE_LOCAL},
    {SITE_DEVICE, open_device, PHASE_LOCAL},
    {SITE_DEVICE, compare_devices, PHASE_COLLECTIVE},
    {SITE_PLAN, choose_tuning, PHASE_ROOT},
    {SITE_PLAN, broadcast_tuning, PHASE_COLLECTIVE},
    {SITE_PLAN, build_nets, PHASE_LOCAL},
    {SITE_EXCHANGE, connect, PHASE_COLLECTIVE},
    {SITE_WEIGHTS, load_values, PHASE_LOCAL},
    {SITE_WEIGHTS, send_values, PHASE_COLLECTIVE},
    {SITE_WEIGHTS, put_values, PHASE_LOCAL},
    {SITE_DATA, start_input, PHASE_LOCAL},
    {SITE_RUN_FOLDER, open_outputs, PHASE_ROOT},
};

/* The context of open_phase(). */
struct phase_call {
    struct session *session;
    const struct phase *phase;
};

static enum vd_err open_phase(void *ctx)
{
    const struct phase_call *call = ctx;
    bool is_idle =
        call->phase->kind == PHASE_ROOT && call->session->comm->rank != 0;
    return is_idle ? VD_OK : call->phase->open(call->session);
}

static enum vd_err run_phase(struct session *s, const struct phase *p)
{
    struct phase_call call = {s, p};
    comm_enter(s->comm, p->site, -1, s->config->timeout.setup);
    if (p->kind == PHASE_COLLECTIVE)
        return p->open(s);
    return comm_phase(s->comm, p->site, open_phase, &call);
}

enum vd_err session_open(struct session *s)
{
    engine_init(&s->engine, s->comm, s->config, &s->data.train);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        VD_TRY(run_phase(s, &phases[i]));
    return VD_OK;
}
