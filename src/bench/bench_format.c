/*
 * The report of a benchmark as text and as one JSON object. The JSON fields are
 * an interface (docs/bench.md). Times are printed in milliseconds.
 */
#include "base/alloc.h"
#include "base/machine.h"
#include "bench/bench.h"
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1e3 /* milliseconds per second */
#define MB 1e6

/* The caller frees it. */
static char *format_option(const struct session *s, const char *key)
{
    struct text value = {0};
    options_format(s->options, key, &value);
    return value.bytes ? value.bytes : xstrdup("");
}

/* The phases from forward to other are then the host's times. */
static bool is_device_timed(const struct bench_steps *steps)
{
    return steps->device.seconds.max > 0;
}

/* ---- JSON ---- */

static void put_timing(struct json *o, const char *key, const struct timing *x)
{
    struct json *d = json_new_object();
    json_put_real(d, "median", MS * x->seconds.median);
    json_put_real(d, "min", MS * x->seconds.min);
    json_put_real(d, "q1", MS * x->seconds.q1);
    json_put_real(d, "q3", MS * x->seconds.q3);
    json_put_real(d, "max", MS * x->seconds.max);
    json_put_real(d, "least_rank", MS * x->least_rank);
    json_put_real(d, "most_rank", MS * x->most_rank);
    json_put(o, key, d);
}

static void put_option(struct json *o, const struct session *s,
                       const char *name, const char *key)
{
    char *value = format_option(s, key);
    json_put_text(o, name, value);
    free(value);
}

static struct json *machine_to_json(const struct bench_report *r)
{
    struct json *o = json_new_object();
    json_put_text(o, "processor", r->processor);
    json_put_text(o, "instruction_set", machine_isa());
    json_put_real(o, "load", r->load);
    return o;
}

static struct json *setup_to_json(const struct session *s)
{
    struct json *o = json_new_object();
    struct backend *b = (struct backend *)&s->engine.backend;
    json_put_int(o, "ranks", s->comm->size);
    json_put_int(o, "hosts", comm_count_hosts(s->comm));
    json_put_text(o, "backend", b->ops->name);
    json_put_text(o, "backend_details", b->ops->describe(b));
    json_put_text(o, "exchange", s->engine.step.exchange.ops->name);
    put_option(o, s, "precision", "train.precision");
    json_put_int(o, "compute_threads", s->plan.compute_threads);
    json_put_int(o, "loader_threads", s->plan.loader_threads);
    json_put_int(o, "replicas", s->plan.batch.replicas);
    json_put_int(o, "micro_batch", s->plan.batch.micro_batch);
    json_put_int(o, "global_batch", s->plan.batch.global_batch);
    return o;
}

static struct json *network_to_json(const struct session *s)
{
    struct json *o = json_new_object();
    put_option(o, s, "blocks", "model.blocks");
    json_put_int(o, "width", s->config->model.width);
    json_put_int(o, "size", s->engine.graph.loss.size);
    json_put_int(o, "classes", s->engine.graph.loss.classes);
    put_option(o, s, "freeze", "model.freeze");
    json_put_int(o, "parameters", (int64_t)s->engine.graph.n_params);
    json_put_int(o, "trained_parameters", (int64_t)s->engine.graph.n_trainable);
    return o;
}

static struct json *data_to_json(const struct session *s,
                                 const struct bench_report *r)
{
    struct json *o = json_new_object();
    bool synthetic = r->request.synthetic;
    json_put_text(o, "folder", synthetic ? "" : s->config->data.train);
    json_put_int(o, "images", (int64_t)s->data.train.n_images);
    json_put_bool(o, "generated", synthetic);
    return o;
}

static struct json *steps_to_json(const struct session *s,
                                  const struct bench_steps *steps)
{
    struct json *o = json_new_object(), *phases = json_new_object();
    struct json *slowest = json_new_object();
    for (enum bench_phase p = 0; p < BENCH_PHASES; p++)
        put_timing(phases, bench_phase_name(p), &steps->phases[p]);
    json_put(o, "phases_ms", phases);
    put_timing(o, "processor_ms", &steps->processor);
    if (is_device_timed(steps))
        put_timing(o, "device_ms", &steps->device);
    json_put_real(o, "images_per_s", steps->images_per_s);
    json_put_real(o, "images_per_s_per_rank",
                  steps->images_per_s / s->comm->size);
    json_put_real(o, "wait_share", steps->wait_share);
    json_put_int(slowest, "rank", steps->slowest);
    json_put_text(slowest, "host", s->comm->hosts[steps->slowest]);
    json_put(o, "slowest", slowest);
    return o;
}

static struct json *step_to_json(const struct session *s,
                                 const struct bench_report *r)
{
    struct json *o = json_new_object();
    json_put(o, "synthetic", steps_to_json(s, &r->memory));
    json_put(o, "shards", steps_to_json(s, &r->shards));
    json_put_int(o, "peak_memory_bytes", r->peak_memory);
    json_put_int(o, "peak_memory_rank", r->peak_rank);
    json_put_bool(o, "validation_nets", s->data.has_val);
    return o;
}

static double image_bytes(const struct session *s)
{
    return 3.0 * s->data.train.width * s->data.train.height;
}

static struct json *loader_to_json(const struct session *s,
                                   const struct bench_report *r)
{
    struct json *o = json_new_object();
    json_put_int(o, "threads", s->plan.loader_threads);
    json_put_real(o, "images_per_s", r->load_images_per_s);
    json_put_real(o, "bytes_per_s", image_bytes(s) * r->load_images_per_s);
    put_timing(o, "batch_ms", &r->load_batch);
    put_timing(o, "stage_ms", &r->memory.stage_one);
    return o;
}

static struct json *exchange_to_json(const struct bench_report *r)
{
    struct json *o = json_new_object();
    json_put_int(o, "bytes", (int64_t)r->exchange_bytes);
    json_put_int(o, "sent_bytes", (int64_t)r->sent_bytes);
    json_put_int(o, "messages", r->messages);
    put_timing(o, "exchange_ms", &r->exchange);
    json_put_real(o, "gb_per_s", r->gb_per_s);
    json_put_real(o, "step_ms", MS * r->step_s);
    json_put_real(o, "step_share", r->exchange.seconds.median / r->step_s);
    return o;
}

static struct json *checkpoint_to_json(const struct session *s,
                                       const struct bench_report *r)
{
    struct json *o = json_new_object();
    json_put_int(o, "bytes", r->checkpoint_bytes);
    put_timing(o, "stall_ms", &r->stall);
    put_timing(o, "write_ms", &r->write);
    json_put_real(o, "write_mb_per_s",
                  (double)r->checkpoint_bytes / r->write.seconds.median / MB);
    put_timing(o, "read_ms", &r->read);
    json_put_text(o, "folder", s->config->train.dir);
    return o;
}

struct json *bench_to_json(const struct session *s,
                           const struct bench_report *r)
{
    struct json *o = json_new_object();
    json_put_text(o, "program", "vocdist " VOCDIST_VERSION);
    json_put(o, "machine", machine_to_json(r));
    json_put(o, "setup", setup_to_json(s));
    json_put(o, "network", network_to_json(s));
    json_put(o, "data", data_to_json(s, r));
    json_put_int(o, "steps", r->request.n_steps);
    json_put_int(o, "warmup", BENCH_WARMUP);
    if (r->request.step)
        json_put(o, "step", step_to_json(s, r));
    if (r->request.loader)
        json_put(o, "loader", loader_to_json(s, r));
    if (r->request.exchange)
        json_put(o, "exchange", exchange_to_json(r));
    if (r->request.checkpoint)
        json_put(o, "checkpoint", checkpoint_to_json(s, r));
    return o;
}

/* ---- text ---- */

static void add_setup(const struct session *s, const struct bench_report *r,
                      struct text *out)
{
    struct backend *b = (struct backend *)&s->engine.backend;
    int hosts = comm_count_hosts(s->comm);
    char *blocks = format_option(s, "model.blocks");
    char *freeze = format_option(s, "model.freeze");
    char *precision = format_option(s, "train.precision");
    text_add(out, "program    vocdist %s, backend %s (%s), %s\n",
             VOCDIST_VERSION, b->ops->name, b->ops->describe(b), precision);
    text_add(out, "machine    %s, %s, load %.1f\n", r->processor, machine_isa(),
             r->load);
    text_add(out,
             "ranks      %d on %d host%s, exchange %s; threads per rank: %d to "
             "compute, %d to load\n",
             s->comm->size, hosts, hosts > 1 ? "s" : "",
             s->engine.step.exchange.ops->name, s->plan.compute_threads,
             s->plan.loader_threads);
    text_add(out,
             "network    ResNet %s, width %lld, %d x %d, %d classes: %.2f M "
             "parameters, %.2f M trained (freeze %s)\n",
             blocks, (long long)s->config->model.width,
             s->engine.graph.loss.size, s->engine.graph.loss.size,
             s->engine.graph.loss.classes,
             (double)s->engine.graph.n_params / 1e6,
             (double)s->engine.graph.n_trainable / 1e6, freeze);
    text_add(out, "batch      %lld replicas x %lld images = %lld\n",
             (long long)s->plan.batch.replicas,
             (long long)s->plan.batch.micro_batch,
             (long long)s->plan.batch.global_batch);
    if (r->request.synthetic)
        text_add(out, "images     synthetic\n");
    else
        text_add(out, "images     %s\n", s->config->data.train);
    text_add(out,
             "times      ms, of the slowest rank; %d repetitions after %d for "
             "warmup\n",
             r->request.n_steps, BENCH_WARMUP);
    free(blocks);
    free(freeze);
    free(precision);
}

static void add_head(const char *what, struct text *out)
{
    text_add(out, "\n%-20s %9s %9s %9s %9s %9s   %s\n", what, "median", "min",
             "q1", "q3", "max", "medians of ranks");
}

static void add_timing(const char *what, const struct timing *x,
                       struct text *out)
{
    text_add(out, "  %-18s %9.2f %9.2f %9.2f %9.2f %9.2f   %.2f .. %.2f\n",
             what, MS * x->seconds.median, MS * x->seconds.min,
             MS * x->seconds.q1, MS * x->seconds.q3, MS * x->seconds.max,
             MS * x->least_rank, MS * x->most_rank);
}

static void add_steps(const struct session *s, const char *what,
                      const struct bench_steps *steps, struct text *out)
{
    bool from_memory = steps->phases[BENCH_WAIT].seconds.max == 0;
    add_head(what, out);
    for (enum bench_phase p = BENCH_WAIT; p < BENCH_PHASES; p++) {
        char name[32];
        bool is_host_time =
            is_device_timed(steps) && p >= BENCH_FORWARD && p <= BENCH_OTHER;
        snprintf(name, sizeof name, "%s%s", bench_phase_name(p),
                 is_host_time ? ", host" : "");
        add_timing(name, &steps->phases[p], out);
    }
    if (is_device_timed(steps))
        add_timing("on the device", &steps->device, out);
    add_timing(from_memory ? "stage, excluded" : "stage, overlapped",
               &steps->phases[BENCH_STAGE], out);
    add_timing("processor time", &steps->processor, out);
    text_add(
        out,
        "  %.2f images/s, %.2f per rank; waiting for data %.1f %%; slowest "
        "rank %d (%s)\n",
        steps->images_per_s, steps->images_per_s / s->comm->size,
        100 * steps->wait_share, steps->slowest,
        s->comm->hosts[steps->slowest]);
}

static void add_step(const struct session *s, const struct bench_report *r,
                     struct text *out)
{
    add_steps(s, "step, from memory", &r->memory, out);
    add_steps(s, "step, from shards", &r->shards, out);
    text_add(out,
             "  peak memory of a rank %.0f MB (rank %d), networks for "
             "validation %s\n",
             (double)r->peak_memory / MB, r->peak_rank,
             s->data.has_val ? "open" : "not open");
}

static void add_loader(const struct session *s, const struct bench_report *r,
                       struct text *out)
{
    add_head("loader", out);
    add_timing("micro-batch", &r->load_batch, out);
    add_timing("staging it", &r->memory.stage_one, out);
    text_add(out, "  %.0f images/s, %.0f MB/s; %d threads per rank\n",
             r->load_images_per_s, image_bytes(s) * r->load_images_per_s / MB,
             s->plan.loader_threads);
}

static void add_exchange(const struct bench_report *r, struct text *out)
{
    if (r->sent_bytes == 0) {
        text_add(out, "\nexchange: none (one rank)\n");
        return;
    }
    add_head("exchange", out);
    add_timing("alone", &r->exchange, out);
    text_add(
        out,
        "  %.1f MB in %d buckets; a rank sends %.1f MB, %.2f GB/s; %.1f %% "
        "of a step of %.1f ms if not overlapped\n",
        (double)r->exchange_bytes / MB, r->messages, (double)r->sent_bytes / MB,
        r->gb_per_s, 100 * r->exchange.seconds.median / r->step_s,
        MS * r->step_s);
}

static void add_checkpoint(const struct session *s,
                           const struct bench_report *r, struct text *out)
{
    add_head("checkpoint", out);
    add_timing("training waits", &r->stall, out);
    add_timing("write, overlapped", &r->write, out);
    add_timing("read back", &r->read, out);
    text_add(out, "  %.1f MB in %s, written at %.1f MB/s\n",
             (double)r->checkpoint_bytes / MB, s->config->train.dir,
             (double)r->checkpoint_bytes / r->write.seconds.median / MB);
}

void bench_format(const struct session *s, const struct bench_report *r,
                  struct text *out)
{
    add_setup(s, r, out);
    if (r->request.step)
        add_step(s, r, out);
    if (r->request.loader)
        add_loader(s, r, out);
    if (r->request.exchange)
        add_exchange(r, out);
    if (r->request.checkpoint)
        add_checkpoint(s, r, out);
}
