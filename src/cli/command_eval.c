/*
 * vocdist eval: loads a trained network, chooses the data, evaluates on all
 * ranks, and prints and writes the results on rank 0.
 *
 * The phases of run_evaluation() each end in an agreement of all ranks
 * (comm_phase(), comm_agree()), so that an error on one rank stops all of them
 * with one message: options, network, data, device, evaluation, output.
 */
#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/command.h"
#include "comm/cores.h"
#include "comm/phase.h"
#include "config/memory_hints.h"
#include "eval/evaluate.h"
#include "eval/picture.h"
#include "run/trained_model.h"
#include "run/validation_data.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHEET_IMAGES 16 /* images that --picture draws */

#define AT(field) offsetof(struct eval_options, field)
static const struct option options[] = {
    COMMAND_ROW_CHECKPOINT(AT(checkpoint)),
    {.key = "weights",
     .type = OPTION_TEXT,
     .offset = AT(weights),
     .default_text = "",
     .metavar = "FILE",
     .help = "evaluate a .safetensors file instead of a checkpoint: one that "
             "vocdist export wrote, or one in the folder weights of a run"},
    {.key = "data",
     .type = OPTION_TEXT,
     .offset = AT(data),
     .default_text = "",
     .metavar = "DIR",
     .help = "folder of shards to evaluate on; default: data.val if it is set, "
             "else the validation data of the run"},
    {.key = "per-image",
     .type = OPTION_TEXT,
     .offset = AT(per_image),
     .default_text = "",
     .metavar = "FILE.csv",
     .help =
         "write a CSV file with one row per image: true and predicted class "
         "and box (pixels), score, IoU, L1"},
    {.key = "picture",
     .type = OPTION_TEXT,
     .offset = AT(picture),
     .default_text = "",
     .metavar = "FILE.png",
     .help = "draw the true and predicted boxes of up to 16 images"},
};
const struct option_table eval_table = {
    .name = "eval", .rows = options, .n = sizeof options / sizeof *options};

/* All state of one evaluation. */
struct evaluation {
    struct comm *comm;
    const struct eval_options *options;
    const struct config *config; /* of this call, not of the trained run */
    const struct option_set *set;
    const char *folder; /* of the shards; borrowed */
    struct validation_data run_data;
    struct trained_model network;
    struct shard_set data;
    struct backend backend;
    struct weights weights;
    struct evaluator *evaluator;
    int threads;
};

static enum vd_err eval_check_options(void *ctx)
{
    const struct eval_options *o = ((const struct evaluation *)ctx)->options;
    if (!*o->checkpoint && !*o->weights)
        return VD_FAIL(VD_USAGE, "eval: --checkpoint or --weights is required\n"
                                 "give --checkpoint runs/NAME, or --weights "
                                 "FILE.safetensors");
    if (*o->checkpoint && *o->weights)
        return VD_FAIL(VD_USAGE,
                       "eval: --checkpoint and --weights cannot be used "
                       "together\ngive one of them");
    return VD_OK;
}

static enum vd_err load_network(struct evaluation *e)
{
    const struct eval_options *o = e->options;
    return *o->weights
               ? trained_model_load_weights(&e->network, e->comm, o->weights)
               : trained_model_load_checkpoint(&e->network, e->comm,
                                               o->checkpoint);
}

/* ---- the data ---- */

/* A relative path is relative to the folder in which the run was started. */
static enum vd_err use_run_data(struct evaluation *e, const char *network)
{
    e->folder = e->run_data.folder;
    if (!*e->folder)
        return VD_FAIL(VD_USAGE,
                       "%s: its run has no validation data (data.val is "
                       "empty)\ngive --data DIR",
                       network);
    if (access(e->folder, F_OK) < 0)
        return VD_FAIL(VD_NOINPUT,
                       "%s: validation data of the run of %s: %s\n"
                       "run this in the folder in which the run was started, "
                       "or give --data DIR",
                       e->folder, network, strerror(errno));
    return VD_OK;
}

/* Takes --data, else data.val if it is set by any origin, else the validation
 * data of the run, else the default of data.val. */
static enum vd_err choose_data(struct evaluation *e)
{
    const struct eval_options *o = e->options;
    const char *network = *o->weights ? o->weights : o->checkpoint;
    VD_TRY(*o->weights
               ? validation_data_of_weights(network, &e->run_data)
               : validation_data_of_checkpoint(&e->network, &e->run_data));
    if (*o->data) {
        e->folder = o->data;
        return VD_OK;
    }
    e->folder = e->config->data.val;
    if (*e->folder && options_is_set(e->set, "data.val"))
        return VD_OK;
    return e->run_data.is_known ? use_run_data(e, network) : VD_OK;
}

static enum vd_err eval_open_data(void *ctx)
{
    struct evaluation *e = ctx;
    VD_TRY(choose_data(e));
    VD_TRY(shard_set_open(&e->data, e->folder));
    return trained_model_check_data(&e->network, e->folder, &e->data);
}

static void print_data(const struct evaluation *e)
{
    const struct validation_data *d = &e->run_data;
    printf("data          %s, %zu images", e->folder, e->data.n_images);
    if (d->digest && d->digest != e->data.digest)
        printf(
            "; not the data that the run validated on (%s, digest %016" PRIx64
            ", here %016" PRIx64 ")",
            d->folder, d->digest, e->data.digest);
    printf("\n\n");
}

/* Prints network and data before the results. */
static void print_inputs(const struct evaluation *e)
{
    const struct checkpoint *c = &e->network.values;
    if (e->comm->rank != 0)
        return;
    if (c->file) {
        char *file = file_resolve_link(c->file);
        printf("network       %s, step %llu\n", file,
               (unsigned long long)c->step);
        free(file);
    } else
        printf("network       %s\n", e->options->weights);
    print_data(e);
    fflush(stdout);
}

static void set_memory_hints(const struct evaluation *e)
{
    const struct memory_hints hints = {.eval_batch = e->config->eval.batch,
                                       .compute_threads = e->threads,
                                       .node_ranks = e->comm->node_size};
    memory_hints_set(&hints);
}

/* The cast below, as that in train/engine.c, needs equal orders. */
_Static_assert((int)PRECISION_FP32 == (int)BACKEND_FP32 &&
                   (int)PRECISION_TF32 == (int)BACKEND_TF32 &&
                   (int)PRECISION_BF16 == (int)BACKEND_BF16 &&
                   (int)PRECISION_FP16 == (int)BACKEND_FP16 &&
                   (int)PRECISION_FP16 + 1 == (int)BACKEND_PRECISIONS,
               "order of the precisions");

/* In the precision of the run if the backend has it, else in fp32; a precision
 * that is set for this call is required. */
static enum vd_err eval_open_device(void *ctx)
{
    struct evaluation *e = ctx;
    bool is_set = options_is_set(e->set, "train.precision");
    const struct config *trained = is_set ? e->config : &e->network.config;
    struct backend_config config = {
        .local_rank = e->comm->node_rank,
        .plugin_dir = e->config->backend_dir,
        .precision = (enum backend_precision)trained->train.precision,
        .precision_is_optional = !is_set};
    VD_TRY(backend_open(&e->backend, config_backend_name(e->config), &config));
    VD_TRY(trained_model_upload(&e->network, &e->backend, &e->weights));
    struct net_spec spec = trained_model_net_spec(
        &e->network, &e->weights, (int)e->config->eval.batch, e->threads);
    e->evaluator = evaluator_new(&e->backend, &spec, &e->data);
    return VD_OK;
}

static enum vd_err write_results(struct evaluation *e,
                                 const struct eval_row *rows,
                                 const struct eval_summary *summary)
{
    struct text table = {0};
    if (e->comm->rank != 0)
        return VD_OK;
    eval_format(&e->data, summary, &table);
    fputs(table.bytes, stdout);
    free(table.bytes);
    if (*e->options->per_image)
        VD_TRY(eval_write_rows(e->options->per_image, &e->data, rows,
                               e->data.n_images));
    if (*e->options->picture)
        VD_TRY(eval_write_picture(e->options->picture, &e->data, rows,
                                  e->data.n_images, SHEET_IMAGES));
    return VD_OK;
}

static enum vd_err run_evaluation(struct evaluation *e)
{
    struct eval_row *rows = NULL;
    struct eval_summary summary = {0};
    struct comm *comm = e->comm;
    double limit = e->config->timeout.setup;
    VD_TRY(comm_phase(comm, SITE_CONFIG, eval_check_options, e));
    comm_enter(comm, SITE_WEIGHTS, -1, limit);
    VD_TRY(load_network(e));
    comm_enter(comm, SITE_DATA, -1, limit);
    VD_TRY(comm_phase(comm, SITE_DATA, eval_open_data, e));
    VD_TRY(comm_check_equal(comm, SITE_DATA, "the data", e->data.digest));
    print_inputs(e);
    VD_TRY(cores_assign_threads(comm, &e->threads));
    if (e->config->cpu.threads != CONFIG_AUTO)
        e->threads = (int)e->config->cpu.threads;
    set_memory_hints(e);
    comm_enter(comm, SITE_DEVICE, -1, limit);
    VD_TRY(comm_phase(comm, SITE_DEVICE, eval_open_device, e));
    comm_enter(comm, SITE_EVAL, -1, limit);
    if (comm->rank == 0)
        rows = xcalloc(e->data.n_images, sizeof *rows);
    enum vd_err err = evaluator_run(e->evaluator, comm, rows, &summary);
    if (err == VD_OK)
        err = comm_agree(comm, SITE_REPORT, write_results(e, rows, &summary));
    eval_summary_clear(&summary);
    free(rows);
    return err;
}

static void evaluation_clear(struct evaluation *e)
{
    evaluator_free(e->evaluator);
    if (e->backend.ops) {
        weights_free(&e->backend, &e->weights);
        backend_close(&e->backend);
    }
    shard_set_close(&e->data);
    trained_model_clear(&e->network);
    validation_data_clear(&e->run_data);
}

enum vd_err command_eval(struct command_call *call)
{
    struct comm comm;
    struct evaluation e = {.comm = &comm,
                           .options = call->options,
                           .config = call->config,
                           .set = call->set};
    enum vd_err err = comm_open(&comm, call->config->timeout.setup);
    if (err == VD_OK)
        err = run_evaluation(&e);
    comm_close(&comm, err);
    evaluation_clear(&e);
    return err;
}
