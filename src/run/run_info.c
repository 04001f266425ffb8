/*
 * Log lines at the start, and run.json with the same facts for programs. Each
 * start replaces run.json; before that, it compares the old one with its own
 * values and logs the differences.
 */
#include "run/run_info.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/machine.h"
#include "run/run_diff.h"
#include "store/atomic.h"
#include "store/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- log lines ---- */

static void log_data(const struct run_info *i)
{
    char val[32] = "none";
    if (i->val)
        snprintf(val, sizeof val, "%zu", i->val->n_images);
    log_info("data      %zu images, %d classes, %d x %d; %s to validate",
             i->train->n_images, i->train->n_classes, i->train->width,
             i->train->height, val);
}

static void log_network(const struct run_info *i)
{
    struct text blocks = {0};
    options_format(i->options, "model.blocks", &blocks);
    log_info("network   ResNet %s, width %lld: %.2f M parameters, %.2f M of "
             "them trained",
             blocks.bytes, (long long)i->config->model.width,
             (double)i->graph->n_params / 1e6,
             (double)i->graph->n_trainable / 1e6);
    free(blocks.bytes);
}

static void log_training(const struct run_info *i)
{
    struct text rule = {0}, schedule = {0};
    options_format(i->options, "optim.name", &rule);
    options_format(i->options, "optim.schedule", &schedule);
    log_info("training  %lld replicas x %lld images, %llu steps; %s, learning "
             "rate %s%g, %s",
             (long long)i->batch.replicas, (long long)i->batch.micro_batch,
             (unsigned long long)i->last_step, rule.bytes,
             i->config->optim.schedule == SCHEDULE_CONSTANT ? "" : "up to ",
             i->peak_lr, schedule.bytes);
    free(rule.bytes);
    free(schedule.bytes);
}

void run_info_log(const struct run_info *i, const struct run_folder *folder)
{
    const struct comm *c = i->comm;
    int hosts = comm_count_hosts(c);
    log_data(i);
    log_network(i);
    log_training(i);
    log_info("computing %s", i->machine);
    log_info("ranks     %d on %d host%s, exchange %s; threads: %d to compute, "
             "%d to load",
             c->size, hosts, hosts > 1 ? "s" : "", i->exchange,
             i->compute_threads, i->loader_threads);
    const char *note =
        folder->is_scratch ? "; scratch outputs, removed at the end" : "";
    if (i->resumed_from)
        log_info("run       %s, going on after step %llu of %s%s",
                 folder->own_folder, (unsigned long long)i->step,
                 i->resumed_from, note);
    else
        log_info("run       %s, from its first step%s", folder->own_folder,
                 note);
}

/* ---- run.json ---- */

static void put_data(struct json *root, const char *key, const char *folder,
                     const struct shard_set *data)
{
    struct json *entry = json_new_object();
    char digest[20];
    snprintf(digest, sizeof digest, "%016" PRIx64, data->digest);
    json_put_text(entry, "folder", folder);
    json_put_int(entry, "images", (int64_t)data->n_images);
    json_put_text(entry, "digest", digest);
    json_put(root, key, entry);
}

static void put_start(struct json *root, const struct run_info *i)
{
    struct json *words = json_new_list(), *hosts = json_new_list();
    char started[32], mpi[128];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    for (char *const *word = i->argv; *word; word++)
        json_add_text(words, *word);
    for (int r = 0; r < i->comm->size; r++)
        json_add_text(hosts, i->comm->hosts[r]);
    comm_library_version(mpi, sizeof mpi);
    json_put_text(root, "program", "vocdist " VOCDIST_VERSION);
    json_put_text(root, "mpi", mpi);
    json_put_text(root, "started", started);
    json_put(root, "command", words);
    json_put_text(root, "resumed_from", i->resumed_from ? i->resumed_from : "");
    json_put(root, "hosts", hosts);
}

static const char *start_reason(const struct run_info *i)
{
    if (!i->resumed_from)
        return "no checkpoint";
    return i->is_branch ? "checkpoint of another run" : "own checkpoint";
}

static struct json *to_json(const struct run_info *i)
{
    struct json *root = json_new_object();
    put_start(root, i);
    json_put_int(root, "ranks", i->comm->size);
    json_put_int(root, "replicas", i->batch.replicas);
    json_put_text(root, "backend", i->backend);
    json_put_text(root, "backend_details", i->backend_details);
    json_put_text(root, "instruction_set", machine_isa());
    json_put_text(root, "exchange", i->exchange);
    json_put_int(root, "cpu_threads", i->compute_threads);
    json_put_int(root, "loader_threads", i->loader_threads);
    json_put_int(root, "seed", i->config->train.seed);
    json_put_int(root, "first_step", (int64_t)i->step + 1);
    json_put_text(root, "start_reason", start_reason(i));
    put_data(root, "train", i->config->data.train, i->train);
    if (i->val)
        put_data(root, "val", i->config->data.val, i->val);
    return root;
}

static enum vd_err log_diff(const struct run_info *i,
                            const struct run_folder *folder,
                            const struct json *now)
{
    if (!i->resumed_from)
        return VD_OK;
    const struct run_diff diff = {.options = i->options,
                                  .checkpoint = i->resumed_from,
                                  .saved_config = i->saved_config,
                                  .now = now};
    char *before = xasprintf("%s/run.json", folder->own_folder);
    enum vd_err err = run_diff_log(&diff, before);
    free(before);
    return err;
}

enum vd_err run_info_write(const struct run_info *info,
                           const struct run_folder *folder)
{
    struct json *root = to_json(info);
    char *text = json_format(root, 2);
    char *path = run_folder_path(folder, "run.json");
    enum vd_err err = log_diff(info, folder, root);
    if (err == VD_OK)
        err = atomic_write(path, text, strlen(text));
    json_free(root);
    free(text);
    free(path);
    return err;
}
