/*
 * A net: the plan of its graph made executable.
 *
 *   1. net_prepare(): the plan, an object for each unit (oneDNN selects its
 *      implementations), then scratchpads and offsets in the arena.
 *   2. net_complete(): staging buffers, the primitives' code, packed weights.
 *   3. net_ensure_workspace(), in the first forward: the arena itself.
 *      cpu_release_workspace() frees it again between passes.
 *
 * The arena holds values, gradients of values and scratchpads at the offsets of
 * the plan (cpu_plan.h). The input is not in it: it is in a staging buffer.
 */
#include "backend/cpu/cpu_net.h"

#include "backend/cpu/cpu_layout.h"
#include "backend/cpu/cpu_optim.h"
#include "backend/cpu/cpu_pixels.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- access to values, parameters and threads ---- */

float *net_buffer(const struct net *net, int buffer)
{
    return buffer < 0 ? NULL : net->arena + net->plan.buffers[buffer].offset;
}

float *net_value(struct net *net, int node)
{
    if (net->graph->nodes[node].op == GRAPH_INPUT)
        return staging_current(&net->staging)->input;
    return net_buffer(net, net->plan.values[node].buffer);
}

const struct graph_tensor *net_tensor(const struct net *net, int index)
{
    return &net->graph->params[index];
}

const float *net_param(const struct net *net, int index)
{
    return net->spec.weights->param.data + net_tensor(net, index)->offset;
}

const float *net_running(const struct net *net, int index)
{
    return net->spec.weights->stats.data + net->graph->stats[index].offset;
}

int net_set_threads(int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

void net_restore_threads(int threads_before)
{
    omp_set_num_threads(threads_before);
}

/* ---- creating a net ---- */

void cpu_net_free(struct net *net)
{
    if (!net)
        return;
    for (int i = 0; net->units && i < net->plan.n_units; i++)
        unit_clear(&net->units[i]);
    staging_clear(&net->staging);
    result_queue_clear(&net->unread);
    free(net->units);
    free(net->dropout_mask);
    free(net->overflowed);
    free(net->norm_partials);
    packed_weights_close(net->packed_weights);
    alloc_aligned_free(net->arena);
    dnn_free(net->dnn);
    plan_clear(&net->plan);
    free(net);
}

static int add_dnn_scratch(struct net *net, int time, enum dnn_work work)
{
    size_t bytes = dnn_reset_scratch_bytes(net->dnn, work);
    return plan_add_scratch(&net->plan, time,
                            (bytes + sizeof(float) - 1) / sizeof(float));
}

/* Makes all units, plans their scratchpads and assigns the offsets. */
static enum vd_err new_units(struct net *net)
{
    for (int i = 0; i < net->plan.n_units; i++) {
        struct plan_unit *u = &net->plan.units[i];
        VD_TRY(unit_init(&net->units[i], net->dnn, &net->plan, i,
                         net->spec.threads));
        u->scratch = add_dnn_scratch(net, i, DNN_FORWARD);
        u->backward_scratch = add_dnn_scratch(
            net, plan_backward_time(&net->plan, i), DNN_BACKWARD);
    }
    net->pack_scratch = add_dnn_scratch(net, PLAN_PACKING, DNN_PACK);
    net->folded_weights = plan_add_scratch(
        &net->plan, PLAN_PACKING, packed_weights_folded_count(&net->plan));
    plan_assign_offsets(&net->plan);
    return VD_OK;
}

static void alloc_scratch(struct net *net)
{
    size_t batch = (size_t)net->spec.micro_batch, max_mask = 0;
    const struct graph *g = net->graph;
    for (int i = 0; i < net->plan.n_units; i++) {
        const struct plan_unit *u = &net->plan.units[i];
        const struct graph_node *node = &g->nodes[u->node];
        size_t n = u->kind == UNIT_DROPOUT ? graph_node_count(node) : 0;
        max_mask = n > max_mask ? n : max_mask;
    }
    net->overflowed = xcalloc(batch, sizeof *net->overflowed);
    if (net->spec.mode == NET_TRAIN) {
        net->dropout_mask = xcalloc(batch * max_mask, 1);
        net->norm_partials =
            xcalloc(optim_n_partials(g), sizeof *net->norm_partials);
    }
}

static const char *const direction_names[] = {"forward", "backward data",
                                              "backward weights"};

static void warn_reference_implementation(const struct net *net, int i,
                                          enum dnn_direction direction)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&warned))
        return;
    log_warn_global("%s, %s: oneDNN has only its reference implementation "
                    "(%s) for batch %d here\n"
                    "this makes a step many times slower; try another "
                    "--train.micro_batch, --eval.batch or image size",
                    unit_name(&net->plan, i), direction_names[direction],
                    unit_implementation(&net->units[i], direction),
                    net->spec.micro_batch);
}

/* Logs the implementation of each layer; warns once per process if one is a
 * reference implementation. */
static void log_implementations(const struct net *net)
{
    const char *mode = net->spec.mode == NET_TRAIN ? "train" : "eval";
    for (int i = 0; i < net->plan.n_units; i++) {
        char line[160] = "";
        for (int k = 0; k < DNN_DIRECTIONS; k++) {
            enum dnn_direction d = (enum dnn_direction)k;
            const char *name = unit_implementation(&net->units[i], d);
            size_t used = strlen(line);
            if (!name)
                continue;
            snprintf(line + used, sizeof line - used, "%s%s %s",
                     used ? ", " : "", direction_names[d], name);
            if (dnn_is_reference(name))
                warn_reference_implementation(net, i, d);
        }
        if (line[0])
            log_debug("cpu net (%s): %s: %s", mode, unit_name(&net->plan, i),
                      line);
    }
}

enum vd_err net_prepare(const struct net_spec *spec, struct net **out)
{
    struct net *net = xcalloc(1, sizeof *net);
    net->spec = *spec;
    net->graph = spec->graph;
    net->simd = simd_get();
    plan_init(&net->plan, spec->graph, spec->micro_batch, dnn_block(),
              spec->mode == NET_TRAIN);
    net->units = xcalloc((size_t)net->plan.n_units, sizeof *net->units);
    enum vd_err err = dnn_new(&net->dnn);
    if (!err)
        err = new_units(net);
    if (err) {
        cpu_net_free(net);
        return err;
    }
    *out = net;
    return VD_OK;
}

static enum vd_err net_complete(struct net *net)
{
    size_t image_bytes =
        graph_node_count(&net->graph->nodes[0]) * sizeof(float);
    VD_TRY(staging_init(&net->staging, &net->spec, image_bytes));
    result_queue_init(&net->unread, &net->spec);
    VD_TRY(dnn_commit(net->dnn));
    const struct net *other = net->spec.share_from;
    VD_TRY(packed_weights_open(other ? other->packed_weights : NULL, &net->plan,
                               net->units, &net->packed_weights));
    alloc_scratch(net);
    return VD_OK;
}

enum vd_err cpu_net_new(struct backend *b, const struct net_spec *spec,
                        struct net **out)
{
    (void)b;
    VD_TRY(backend_check_spec(spec));
    VD_TRY(memory_check_available("compute threads",
                                  memory_thread_stacks(spec->threads)));
    int before = net_set_threads(spec->threads);
    struct net *net = NULL;
    enum vd_err err = net_prepare(spec, &net);
    if (!err)
        err = net_complete(net);
    net_restore_threads(before);
    if (err) {
        cpu_net_free(net);
        return err;
    }
    log_implementations(net);
    log_debug("cpu net: %d units, %.0f MB for values, gradients and scratch, "
              "%.0f MB for packed weights, %.0f MB for other oneDNN buffers",
              net->plan.n_units, (double)net->plan.arena * 4e-6,
              (double)packed_weights_count(net->packed_weights) * 4e-6,
              (double)dnn_bytes(net->dnn) * 1e-6);
    *out = net;
    return VD_OK;
}

enum vd_err cpu_release_workspace(struct net *net)
{
    alloc_aligned_free(net->arena);
    net->arena = NULL;
    return VD_OK;
}

enum vd_err net_ensure_workspace(struct net *net)
{
    void *arena = NULL;
    if (net->arena)
        return VD_OK;
    VD_TRY(alloc_aligned(&arena, net->plan.arena, sizeof(float),
                         "the network's values"));
    net->arena = arena;
    return VD_OK;
}

/* ---- staging, results and node values ---- */

static void cpu_prepare_input(const struct net_spec *spec,
                              const struct batch_item *item,
                              const uint8_t *pixels, void *input)
{
    cpu_pixels_to_input(item, pixels, spec->graph->nodes[0].h, spec->mean,
                        spec->std, input);
}

enum vd_err cpu_stage(struct net *net, const struct batch *batch)
{
    staging_push(&net->staging, batch, cpu_prepare_input);
    return VD_OK;
}

enum vd_err cpu_done(struct net *net, bool *done)
{
    (void)net;
    *done = true;
    return VD_OK;
}

enum vd_err cpu_results(struct net *net, struct result *out)
{
    result_queue_pop(&net->unread, out);
    return VD_OK;
}

/* Copies from the node's layout to [micro_batch, c, h, w]. */
static void cpu_copy_node(const struct net *net, int node, const float *from,
                          float *out)
{
    const struct graph_node *at = &net->graph->nodes[node];
    size_t n = net->plan.values[node].n;
    if (net->plan.values[node].blocked)
        layout_map_to_plain(net->spec.micro_batch, at->c,
                            (size_t)at->h * (size_t)at->w, net->plan.block,
                            from, out);
    else
        memcpy(out, from, n * sizeof *out);
}

enum vd_err cpu_node_value(struct net *net, int node, float *out)
{
    VD_ASSERT(node >= 0 && node < net->graph->n_nodes && net->staging.n_taken);
    const struct plan_value *v = &net->plan.values[node];
    if (net->graph->nodes[node].op != GRAPH_INPUT &&
        (v->buffer < 0 || v->replaced || !net->arena ||
         !plan_is_intact(&net->plan, v->buffer)))
        return VD_UNSUPPORTED;
    cpu_copy_node(net, node, net_value(net, node), out);
    return VD_OK;
}

enum vd_err cpu_node_grad(struct net *net, int node, float *out)
{
    VD_ASSERT(node >= 0 && node < net->graph->n_nodes);
    const struct plan_value *v = &net->plan.values[node];
    if (!v->requires_grad || !v->n_grads || !net->arena)
        return VD_UNSUPPORTED;
    for (int i = 0; i < v->n_grads; i++) {
        if (!plan_is_intact(&net->plan, v->grads[i]))
            return VD_UNSUPPORTED;
    }
    /* A norm adds a second gradient into the first one in place, which makes
     * that buffer not intact. So there is one gradient here. */
    cpu_copy_node(net, node, net_buffer(net, v->grads[0]), out);
    return VD_OK;
}

/* ---- update ---- */

enum vd_err cpu_update(struct net *net, struct buf *exchange)
{
    struct weights *w = net->spec.weights;
    VD_ASSERT(net->spec.mode == NET_TRAIN && exchange->kind == BUF_EXCHANGE);
    const struct optim_step step = {
        .graph = net->graph,
        .optim = &net->spec.optim,
        .scalars = &net->scalars,
        .weights = w,
        .simd = net->simd,
        .threads = net->spec.threads,
        .partials = net->norm_partials,
    };
    struct update_result result = optim_update(&step, exchange->data);
    result_queue_push_update(&net->unread, result);
    if (result.outcome != UPDATE_APPLIED)
        return VD_OK;
    packed_weights_keep_frozen(net->packed_weights, w->version);
    w->version++;
    return VD_OK;
}

enum vd_err cpu_update_result(struct net *net, struct update_result *out)
{
    result_queue_pop_update(&net->unread, out);
    return VD_OK;
}

enum vd_err cpu_add(struct net *net, struct buf *dst, const struct buf *src,
                    struct range range)
{
    VD_ASSERT(range.first + range.n <= dst->n && dst->n == src->n);
    optim_add(net->simd, net->spec.threads, dst->data + range.first,
              src->data + range.first, range.n);
    return VD_OK;
}

enum vd_err cpu_divide(struct net *net, struct buf *buf, struct range range,
                       float by)
{
    VD_ASSERT(range.first + range.n <= buf->n);
    optim_divide(net->spec.threads, buf->data + range.first, range.n, by);
    return VD_OK;
}
