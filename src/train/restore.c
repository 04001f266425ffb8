#include "train/restore.h"

#include "base/mem.h"
#include "comm/phase.h"
#include "model/weights.h"
#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    struct restored *r;
    const struct comm *comm;
    const char *path;
};

static bool reads_values(const struct reading *reading)
{
    return !reading->comm || reading->comm->rank == 0;
}

/* Not for the optimizer's. */
static enum vd_err make_room(struct checkpoint *v)
{
    VD_TRY(mem_alloc((void **)&v->param, v->n_params, sizeof(float),
                     "the network"));
    return mem_alloc((void **)&v->stats, v->n_stats, sizeof(float),
                     "the network");
}

static enum vd_err read_checkpoint(void *ctx)
{
    const struct reading *reading = ctx;
    struct restored *r = reading->r;
    struct checkpoint *v = &r->values;
    const char *path = reading->path;
    options_init(&r->set);
    options_add(&r->set, &config_table, &r->config);
    VD_TRY(reads_values(reading) ? checkpoint_read(v, path)
                                 : checkpoint_read_head(v, path));
    VD_TRY(options_read_yaml_text(&r->set, path, v->config, strlen(v->config)));
    VD_TRY(trainer_build_graph(&r->config, v->n_classes, v->size, &r->graph));
    VD_TRY(checkpoint_check_graph(v, &r->graph, path));
    trainer_normalization(&r->config, r->mean, r->std);
    return reads_values(reading)
               ? checkpoint_check_values(v, &r->graph, VD_DATA, path,
                                         "the network diverged: use an older "
                                         "checkpoint of the run")
               : make_room(v);
}

/* The facts take the place of a run's settings and of a checkpoint's head. */
static enum vd_err use_facts(struct restored *r, struct weights_facts *facts)
{
    struct checkpoint *v = &r->values;
    r->config.model.width = facts->width;
    r->config.model.blocks.n = 4;
    for (int k = 0; k < 4; k++)
        r->config.model.blocks.values[k] = facts->blocks[k];
    memcpy(r->mean, facts->mean, sizeof r->mean);
    memcpy(r->std, facts->std, sizeof r->std);
    v->size = facts->size;
    v->n_classes = (int)facts->n_classes;
    v->classes = facts->classes;
    facts->classes = NULL;
    facts->n_classes = 0;
    VD_TRY(trainer_build_graph(&r->config, v->n_classes, v->size, &r->graph));
    v->n_params = r->graph.n_params;
    v->n_stats = r->graph.n_stats;
    v->graph_digest = graph_digest(&r->graph);
    return make_room(v);
}

static enum vd_err read_weights(void *ctx)
{
    const struct reading *reading = ctx;
    struct restored *r = reading->r;
    struct checkpoint *v = &r->values;
    struct weights_facts facts = {0};
    struct weights_report report = {0};
    options_init(&r->set);
    options_add(&r->set, &config_table, &r->config);
    VD_TRY(weights_facts_read(&facts, reading->path));
    enum vd_err err = use_facts(r, &facts);
    weights_facts_clear(&facts);
    if (err == VD_OK && reads_values(reading))
        err = weights_load(&r->graph, reading->path, true, v->param, v->stats,
                           &report);
    weights_report_clear(&report);
    return err;
}

static enum vd_err restore(struct reading *reading, struct comm *comm,
                           phase_fn *read)
{
    struct restored *r = reading->r;
    *r = (struct restored){0};
    VD_TRY(comm_phase(comm, SITE_WEIGHTS, read, reading));
    VD_TRY(
        comm_same(comm, SITE_WEIGHTS, "the network", r->values.graph_digest));
    VD_TRY(comm_bcast(comm, SITE_WEIGHTS, r->values.param,
                      r->values.n_params * sizeof(float), 0));
    return comm_bcast(comm, SITE_WEIGHTS, r->values.stats,
                      r->values.n_stats * sizeof(float), 0);
}

enum vd_err restore_checkpoint(struct restored *r, struct comm *comm,
                               const char *path)
{
    struct reading reading = {r, comm, path};
    return restore(&reading, comm, read_checkpoint);
}

enum vd_err restore_weights(struct restored *r, struct comm *comm,
                            const char *path)
{
    struct reading reading = {r, comm, path};
    return restore(&reading, comm, read_weights);
}

enum vd_err restore_checkpoint_alone(struct restored *r, const char *path)
{
    struct reading reading = {r, NULL, path};
    *r = (struct restored){0};
    return read_checkpoint(&reading);
}

enum vd_err restore_save_weights(const struct restored *r, const char *path)
{
    struct weights_facts facts = {.classes = r->values.classes,
                                  .n_classes = (size_t)r->values.n_classes,
                                  .size = r->values.size,
                                  .width = (int32_t)r->config.model.width};
    for (int k = 0; k < 4; k++)
        facts.blocks[k] = (int32_t)r->config.model.blocks.values[k];
    memcpy(facts.mean, r->mean, sizeof facts.mean);
    memcpy(facts.std, r->std, sizeof facts.std);
    return weights_save(&r->graph, path, r->values.param, r->values.stats,
                        &facts);
}

void restore_clear(struct restored *r)
{
    checkpoint_clear(&r->values);
    graph_clear(&r->graph);
    options_clear(&r->set);
}

enum vd_err restore_check_data(const struct restored *r, const char *folder,
                               const struct shard_set *data)
{
    if (data->width != r->values.size)
        return VD_FAIL(VD_DATA,
                       "%s: pictures of %d pixels, the network takes %d\n"
                       "pack them with --size %d",
                       folder, data->width, r->values.size, r->values.size);
    if (!shard_set_has_classes(data, r->values.classes, r->values.n_classes))
        return VD_FAIL(VD_DATA,
                       "%s: its %d classes are not the network's %d\n"
                       "pack it with --classes and the list the network was "
                       "trained with",
                       folder, data->n_classes, r->values.n_classes);
    return VD_OK;
}

enum vd_err restore_put(const struct restored *r, struct backend *b,
                        struct weights *w)
{
    VD_TRY(weights_alloc(b, &r->graph, w));
    VD_TRY(b->ops->put(b, &r->graph, &w->param, r->values.param));
    VD_TRY(b->ops->put(b, &r->graph, &w->stats, r->values.stats));
    w->version++;
    return VD_OK;
}

struct net_spec restore_spec(const struct restored *r, struct weights *w,
                             int batch, int threads)
{
    struct net_spec spec = {.graph = &r->graph,
                            .weights = w,
                            .micro_batch = batch,
                            .mode = NET_EVAL,
                            .threads = threads};
    memcpy(spec.mean, r->mean, sizeof spec.mean);
    memcpy(spec.std, r->std, sizeof spec.std);
    return spec;
}
