/*
 * Every rank reads the head (settings, classes, sizes) and builds the graph;
 * rank 0 also reads and checks the values. All ranks compare the digest of the
 * graph, then rank 0 broadcasts the values. In a weight file, the metadata has
 * the facts that a checkpoint has in its settings and head.
 */
#include "run/trained_model.h"

#include "base/alloc.h"
#include "comm/phase.h"
#include "model/graph_config.h"
#include "model/weights.h"
#include "run/checkpoint_folder.h"

#include <stdlib.h>
#include <string.h>

struct model_source {
    struct trained_model *m;
    const struct comm *comm;
    const char *path;
};

static bool reads_values(const struct model_source *source)
{
    return !source->comm || source->comm->rank == 0;
}

/* Without the optimizer's moments. */
static enum vd_err alloc_network_values(struct checkpoint *v)
{
    VD_TRY(alloc_aligned((void **)&v->param, v->n_params, sizeof(float),
                         "the network"));
    return alloc_aligned((void **)&v->stats, v->n_stats, sizeof(float),
                         "the network");
}

static enum vd_err read_checkpoint(void *ctx)
{
    const struct model_source *source = ctx;
    struct trained_model *m = source->m;
    struct checkpoint *v = &m->values;
    const char *path = source->path;
    options_init(&m->set);
    options_add(&m->set, &config_table, &m->config);
    VD_TRY(checkpoint_open(v, path, reads_values(source)));
    VD_TRY(options_read_yaml_text(&m->set, path, v->config, strlen(v->config)));
    VD_TRY(graph_from_config(&m->config, v->n_classes, v->size, &m->graph));
    VD_TRY(checkpoint_check_graph(v, &m->graph, path));
    normalization_from_config(&m->config, m->mean, m->std);
    return reads_values(source)
               ? checkpoint_check_values(v, &m->graph, VD_DATA, path,
                                         "the network diverged: use an older "
                                         "checkpoint of the run")
               : alloc_network_values(v);
}

static enum vd_err apply_weights_metadata(struct trained_model *m,
                                          struct weights_metadata *metadata)
{
    struct checkpoint *v = &m->values;
    m->config.model.width = metadata->width;
    m->config.model.blocks.n = 4;
    for (int k = 0; k < 4; k++)
        m->config.model.blocks.values[k] = metadata->blocks[k];
    memcpy(m->mean, metadata->mean, sizeof m->mean);
    memcpy(m->std, metadata->std, sizeof m->std);
    v->size = metadata->size;
    v->n_classes = (int)metadata->n_classes;
    v->classes = metadata->classes;
    metadata->classes = NULL;
    metadata->n_classes = 0;
    VD_TRY(graph_from_config(&m->config, v->n_classes, v->size, &m->graph));
    v->n_params = m->graph.n_params;
    v->n_stats = m->graph.n_stats;
    v->graph_digest = graph_digest(&m->graph);
    return alloc_network_values(v);
}

static enum vd_err read_weights(void *ctx)
{
    const struct model_source *source = ctx;
    struct trained_model *m = source->m;
    struct checkpoint *v = &m->values;
    struct weights_metadata metadata = {0};
    struct weights_report report = {0};
    options_init(&m->set);
    options_add(&m->set, &config_table, &m->config);
    VD_TRY(weights_metadata_read(&metadata, source->path));
    enum vd_err err = apply_weights_metadata(m, &metadata);
    weights_metadata_clear(&metadata);
    if (err == VD_OK && reads_values(source))
        err = weights_load(&m->graph, source->path, true, v->param, v->stats,
                           &report);
    weights_report_clear(&report);
    return err;
}

static enum vd_err load_and_broadcast(struct model_source *source,
                                      struct comm *comm, phase_fn *read)
{
    struct trained_model *m = source->m;
    *m = (struct trained_model){0};
    VD_TRY(comm_phase(comm, SITE_WEIGHTS, read, source));
    VD_TRY(comm_check_equal(comm, SITE_WEIGHTS, "the network",
                            m->values.graph_digest));
    VD_TRY(comm_bcast(comm, SITE_WEIGHTS, m->values.param,
                      m->values.n_params * sizeof(float), 0));
    return comm_bcast(comm, SITE_WEIGHTS, m->values.stats,
                      m->values.n_stats * sizeof(float), 0);
}

enum vd_err trained_model_load_checkpoint(struct trained_model *m,
                                          struct comm *comm, const char *path)
{
    struct model_source source = {m, comm, path};
    return load_and_broadcast(&source, comm, read_checkpoint);
}

enum vd_err trained_model_load_weights(struct trained_model *m,
                                       struct comm *comm, const char *path)
{
    struct model_source source = {m, comm, path};
    return load_and_broadcast(&source, comm, read_weights);
}

enum vd_err trained_model_load_local(struct trained_model *m, const char *path)
{
    struct model_source source = {m, NULL, path};
    *m = (struct trained_model){0};
    return read_checkpoint(&source);
}

enum vd_err trained_model_save_weights(const struct trained_model *m,
                                       const char *path)
{
    struct weights_metadata metadata = {
        .classes = m->values.classes,
        .n_classes = (size_t)m->values.n_classes,
        .size = m->values.size,
        .width = (int32_t)m->config.model.width};
    for (int k = 0; k < 4; k++)
        metadata.blocks[k] = (int32_t)m->config.model.blocks.values[k];
    memcpy(metadata.mean, m->mean, sizeof metadata.mean);
    memcpy(metadata.std, m->std, sizeof metadata.std);
    return weights_save(&m->graph, path, m->values.param, m->values.stats,
                        &metadata);
}

void trained_model_clear(struct trained_model *m)
{
    checkpoint_clear(&m->values);
    graph_clear(&m->graph);
    options_clear(&m->set);
}

enum vd_err trained_model_check_data(const struct trained_model *m,
                                     const char *folder,
                                     const struct shard_set *data)
{
    if (data->width != m->values.size)
        return VD_FAIL(VD_DATA,
                       "%s: images of %d pixels, the network takes %d\n"
                       "pack them with --size %d",
                       folder, data->width, m->values.size, m->values.size);
    if (!shard_set_has_classes(data, m->values.classes, m->values.n_classes))
        return VD_FAIL(
            VD_DATA,
            "%s: its %d classes are not the network's %d\n"
            "pack it with --classes and the list that the network was "
            "trained with",
            folder, data->n_classes, m->values.n_classes);
    return VD_OK;
}

enum vd_err trained_model_upload(const struct trained_model *m,
                                 struct backend *b, struct weights *w)
{
    VD_TRY(weights_alloc(b, &m->graph, w));
    VD_TRY(b->ops->put(b, &m->graph, &w->param, m->values.param));
    VD_TRY(b->ops->put(b, &m->graph, &w->stats, m->values.stats));
    w->version++;
    return VD_OK;
}

struct net_spec trained_model_net_spec(const struct trained_model *m,
                                       struct weights *w, int batch,
                                       int threads)
{
    struct net_spec spec = {.graph = &m->graph,
                            .weights = w,
                            .micro_batch = batch,
                            .mode = NET_EVAL,
                            .threads = threads};
    memcpy(spec.mean, m->mean, sizeof spec.mean);
    memcpy(spec.std, m->std, sizeof spec.std);
    return spec;
}
