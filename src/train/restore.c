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

static enum vd_err read_file(void *ctx)
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
    if (reads_values(reading))
        return VD_OK;
    VD_TRY(mem_alloc((void **)&v->param, v->n_params, sizeof(float),
                     "the network")); /* not the optimizer's */
    return mem_alloc((void **)&v->stats, v->n_stats, sizeof(float),
                     "the network");
}

enum vd_err restore_checkpoint(struct restored *r, struct comm *comm,
                               const char *path)
{
    struct reading reading = {r, comm, path};
    *r = (struct restored){0};
    VD_TRY(comm_phase(comm, SITE_WEIGHTS, read_file, &reading));
    VD_TRY(comm_same(comm, SITE_WEIGHTS, "the checkpoint",
                     r->values.graph_digest));
    VD_TRY(comm_bcast(comm, SITE_WEIGHTS, r->values.param,
                      r->values.n_params * sizeof(float), 0));
    return comm_bcast(comm, SITE_WEIGHTS, r->values.stats,
                      r->values.n_stats * sizeof(float), 0);
}

enum vd_err restore_checkpoint_alone(struct restored *r, const char *path)
{
    struct reading reading = {r, NULL, path};
    *r = (struct restored){0};
    return read_file(&reading);
}

enum vd_err restore_save_weights(const struct restored *r, const char *path)
{
    struct weights_facts facts = {.classes = r->values.classes,
                                  .n_classes = (size_t)r->values.n_classes,
                                  .size = r->values.size,
                                  .width = (int32_t)r->config.model.width};
    for (int k = 0; k < 4; k++)
        facts.blocks[k] = (int32_t)r->config.model.blocks.values[k];
    trainer_normalization(&r->config, facts.mean, facts.std);
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
    trainer_normalization(&r->config, spec.mean, spec.std);
    return spec;
}
