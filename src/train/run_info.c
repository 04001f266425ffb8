/* What people are told of a run: lines at its start, and run.json. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/machine.h"
#include "store/atomic.h"
#include "train/setup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void log_data(const struct trainer *t)
{
    if (t->has_val)
        log_info("data      %zu images, %d classes, %d x %d; %zu to validate",
                 t->train.n_images, t->train.n_classes, t->train.width,
                 t->train.height, t->val.n_images);
    else
        log_info("data      %zu images, %d classes, %d x %d; none to validate",
                 t->train.n_images, t->train.n_classes, t->train.width,
                 t->train.height);
}

static void log_network(const struct trainer *t)
{
    struct text blocks = {0};
    options_format(t->set, "model.blocks", &blocks);
    log_info("network   ResNet %s, width %lld: %.2f M parameters, %.2f M of "
             "them trained",
             blocks.bytes, (long long)t->config->model.width,
             (double)t->graph.n_params / 1e6,
             (double)t->graph.n_trainable / 1e6);
    free(blocks.bytes);
}

static void log_training(const struct trainer *t)
{
    struct text rule = {0}, schedule = {0};
    options_format(t->set, "optim.name", &rule);
    options_format(t->set, "optim.schedule", &schedule);
    log_info("training  %lld replicas x %lld images, %llu steps; %s, learning "
             "rate %s%g, %s",
             (long long)t->batch.replicas, (long long)t->batch.micro_batch,
             (unsigned long long)t->last_step, rule.bytes,
             t->prefetch_spec.schedule.kind == SCHEDULE_KIND_CONSTANT
                 ? ""
                 : "up to ",
             t->prefetch_spec.schedule.lr, schedule.bytes);
    free(rule.bytes);
    free(schedule.bytes);
}

void run_info_log(const struct trainer *t)
{
    const struct comm *c = t->comm;
    log_data(t);
    log_network(t);
    log_training(t);
    log_info("computing %s", t->state.machine);
    log_info("ranks     %d on %d host%s, exchange %s; threads: %d to compute, "
             "%d to load",
             c->size, comm_count_hosts(c), comm_count_hosts(c) > 1 ? "s" : "",
             t->step.exchange.ops->name, t->compute_threads, t->loader_threads);
    const char *note =
        t->policy ? "; a scratch session: nothing of it is kept" : "";
    if (t->resume)
        log_info("run       %s, going on after step %llu of %s%s",
                 t->run.own_folder, (unsigned long long)t->state.step,
                 t->resume, note);
    else
        log_info("run       %s, from its first step%s", t->run.own_folder,
                 note);
}

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

static void put_texts(struct json *root, const struct trainer *t)
{
    struct json *words = json_new_list(), *hosts = json_new_list();
    char started[32], mpi[128];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    for (char *const *word = t->argv; *word; word++)
        json_add_text(words, *word);
    for (int r = 0; r < t->comm->size; r++)
        json_add_text(hosts, t->comm->hosts[r]);
    comm_library_version(mpi, sizeof mpi);
    json_put_text(root, "program", "vocdist " VOCDIST_VERSION);
    json_put_text(root, "mpi", mpi);
    json_put_text(root, "started", started);
    json_put(root, "command", words);
    json_put_text(root, "resumed_from", t->resume ? t->resume : "");
    json_put(root, "hosts", hosts);
}

enum vd_err run_info_write(struct trainer *t)
{
    struct json *root = json_new_object();
    struct backend *b = &t->backend;
    put_texts(root, t);
    json_put_int(root, "ranks", t->comm->size);
    json_put_int(root, "replicas", t->batch.replicas);
    json_put_text(root, "backend", b->ops->name);
    json_put_text(root, "backend_details", b->ops->describe(b));
    json_put_text(root, "instruction_set", machine_isa());
    json_put_text(root, "exchange", t->step.exchange.ops->name);
    json_put_int(root, "cpu_threads", t->compute_threads);
    json_put_int(root, "loader_threads", t->loader_threads);
    json_put_int(root, "seed", t->config->train.seed);
    json_put_int(root, "first_step", (int64_t)t->state.step + 1);
    put_data(root, "train", t->config->data.train, &t->train);
    if (t->has_val)
        put_data(root, "val", t->config->data.val, &t->val);
    char *text = json_format(root, 2), *path = run_path(&t->run, "run.json");
    char *before = xasprintf("%s/run.json", t->run.own_folder);
    enum vd_err err = run_diff_log(t, before, root);
    if (err == VD_OK)
        err = atomic_write(path, text, strlen(text));
    json_free(root);
    free(text);
    free(path);
    free(before);
    return err;
}
