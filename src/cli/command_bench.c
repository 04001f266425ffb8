/*
 * vocdist bench: reads which parts to measure, provides data, and runs
 * bench_measure() as the body of a training session with the real config.
 *
 * If data.train is not set and its default folder does not exist, rank 0 writes
 * synthetic images into a scratch folder, which is removed at the end.
 */
#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "bench/bench.h"
#include "bench/synthetic_images.h"
#include "cli/command.h"
#include "comm/phase.h"
#include "config/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_IMAGES 256 /* minimum number of synthetic images */

#define AT(field) offsetof(struct bench_options, field)
static const struct option options[] = {
    {.key = "steps",
     .type = OPTION_INT,
     .offset = AT(steps),
     .default_text = "10",
     .min = 1,
     .max = 1e6,
     .help = "steps to measure, after two warm-up steps"},
    {.key = "json",
     .type = OPTION_BOOL,
     .offset = AT(json),
     .default_text = "false",
     .help = "print one JSON object; docs/bench.md lists its fields"},
};
const struct option_table bench_table = {
    .name = "bench", .rows = options, .n = sizeof options / sizeof *options};

struct benchmark {
    struct comm *comm;
    struct command_call *call;
    struct bench_request request;
    struct synthetic_images images; /* zeroed if data.train exists */
};

/* ---- what to measure ---- */

static enum vd_err read_requested_parts(void *ctx)
{
    struct benchmark *b = ctx;
    struct bench_request *r = &b->request;
    static const char *const names[] = {"step", "loader", "exchange",
                                        "checkpoint"};
    bool *const parts[] = {&r->step, &r->loader, &r->exchange, &r->checkpoint};
    for (int i = 0; i < b->call->n_positionals; i++) {
        const char *word = b->call->positionals[i];
        size_t k = 0;
        while (k < 4 && strcmp(word, names[k]))
            k++;
        if (k == 4)
            return VD_FAIL(VD_USAGE,
                           "command line: unknown part to measure '%s'\n"
                           "give step, loader, exchange or checkpoint",
                           word);
        *parts[k] = true;
    }
    for (size_t k = 0; k < 4 && b->call->n_positionals == 0; k++)
        *parts[k] = true;
    return VD_OK;
}

/* ---- synthetic images ---- */

/* Rank 0 decides whether data.train exists. If data.train was set, missing data
 * is an error, which is raised when it is opened. */
static enum vd_err find_data(struct benchmark *b, bool *missing)
{
    const struct command_call *call = b->call;
    *missing = !options_is_set(call->set, "data.train") &&
               !file_exists(call->config->data.train);
    return comm_bcast(b->comm, SITE_DATA, missing, sizeof *missing, 0);
}

/* The images of one step. Errors in the batch sizes are raised later, when the
 * session resolves them. */
static size_t count_images(const struct benchmark *b)
{
    struct batch_plan plan = {0};
    struct log_sink before =
        log_swap_sink((struct log_sink){log_discard, NULL});
    enum vd_err err =
        batch_resolve(b->call->config, b->comm->size, INT64_MAX, &plan);
    log_swap_sink(before);
    return err == VD_OK && plan.global_batch > MIN_IMAGES
               ? (size_t)plan.global_batch
               : MIN_IMAGES;
}

static enum vd_err make_synthetic_data(struct benchmark *b)
{
    struct option_set *set = b->call->set;
    log_info("%s: no shards; measuring on synthetic images",
             b->call->config->data.train);
    VD_TRY(synthetic_images_open(&b->images, b->comm,
                                 b->call->config->train.dir, count_images(b)));
    b->request.synthetic = true;
    VD_TRY(options_set(set, "data.train", b->images.folder, "synthetic"));
    return options_set(set, "data.val", "", "synthetic");
}

/* ---- */

static void print_report(const struct session *s,
                         const struct bench_report *report, bool as_json)
{
    if (as_json) {
        struct json *root = bench_to_json(s, report);
        char *text = json_format(root, 2);
        puts(text);
        json_free(root);
        free(text);
    } else {
        struct text text = {0};
        bench_format(s, report, &text);
        fputs(text.bytes, stdout);
        free(text.bytes);
    }
}

static enum vd_err bench_body(struct session *s, void *ctx)
{
    struct benchmark *b = ctx;
    const struct bench_options *o = b->call->options;
    struct bench_report report;
    VD_TRY(bench_measure(s, &b->request, &report));
    if (s->comm->rank == 0)
        print_report(s, &report, o->json);
    bench_report_clear(&report);
    return VD_OK;
}

static enum vd_err run_benchmark(struct benchmark *b)
{
    const struct command_call *call = b->call;
    const struct session_policy policy = {.scratch_outputs = true,
                                          .fresh = true,
                                          .n_steps = SESSION_UNLIMITED_STEPS,
                                          .body = bench_body,
                                          .ctx = b};
    bool missing = false;
    VD_TRY(comm_phase(b->comm, SITE_CONFIG, read_requested_parts, b));
    VD_TRY(find_data(b, &missing));
    if (missing)
        VD_TRY(make_synthetic_data(b));
    return session_run(b->comm, call->set, call->config, call->argv, &policy);
}

enum vd_err command_bench(struct command_call *call)
{
    struct comm comm;
    const struct bench_options *o = call->options;
    struct benchmark b = {
        .comm = &comm, .call = call, .request = {.n_steps = (int)o->steps}};
    enum vd_err err = comm_open(&comm, call->config->timeout.setup);
    if (err == VD_OK)
        err = run_benchmark(&b);
    synthetic_images_close(&b.images);
    comm_close(&comm, err);
    return err;
}
