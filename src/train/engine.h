/*
 * What one training step needs: graph, backend, weights, network, gradient
 * exchange and prefetched input. Sessions and benchmarks step through it; it
 * knows nothing of runs, epochs or files.
 *
 * Opened in this order, each call once: engine_init, build_graph, open_device,
 * compare_devices, build_net, connect, put, start_prefetch.
 */
#ifndef VOCDIST_TRAIN_ENGINE_H
#define VOCDIST_TRAIN_ENGINE_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "config/config.h"
#include "data/shard.h"
#include "run/checkpoint.h"
#include "train/loss_meter.h"
#include "train/prefetch.h"
#include "train/step.h"
#include "train/train_plan.h"

struct engine {
    struct comm *comm;            /* borrowed */
    const struct config *config;  /* borrowed */
    const struct shard_set *data; /* borrowed: the training set */
    struct batch_plan batch;
    struct graph graph;
    struct backend backend;
    struct weights weights;
    struct net *net;
    struct step step;
    struct prefetch_spec input;
    struct prefetch *prefetch; /* NULL: no steps to prefetch for */
    struct result *results;    /* [n_local], of the last step */
    int n_local;               /* images of this rank in a step */
};

/* Local. */
void engine_init(struct engine *e, struct comm *comm,
                 const struct config *config, const struct shard_set *data);
void engine_close(struct engine *e);

/* Local: the graph, with class weights where loss.weights is balanced. */
enum vd_err engine_build_graph(struct engine *e) VD_MUST_USE;
/* Local. */
enum vd_err engine_open_device(struct engine *e) VD_MUST_USE;
/* Collective: VD_CONFIG unless all ranks compute on devices of one kind;
 * gradients are exchanged in the device's own layout. */
enum vd_err engine_compare_devices(struct engine *e) VD_MUST_USE;
/* Local: weights, training network and the step's buffers, by the plan. */
enum vd_err engine_build_net(struct engine *e,
                             const struct train_plan *plan) VD_MUST_USE;
/* Local. Collective on MPI: opens the exchange that the config names. */
enum vd_err engine_connect(struct engine *e) VD_MUST_USE;

/* Local: copies values to the device; moments only if `moments` (they are
 * zeros until then). */
enum vd_err engine_put(struct engine *e, const struct checkpoint *values,
                       bool moments) VD_MUST_USE;
/* Local: copies all values from the device into a new checkpoint. */
enum vd_err engine_get(struct engine *e, struct checkpoint *values) VD_MUST_USE;

/* Local: prefetches for `n_steps` steps (0: none) after step `first`; with
 * `repeat` each of them gets the images of the first one. */
enum vd_err engine_start_prefetch(struct engine *e,
                                  const struct train_plan *plan, uint64_t first,
                                  uint64_t n_steps, bool repeat) VD_MUST_USE;

/*
 * Collective: trains step `step` (from 1) on the next prefetched batches.
 * VD_NUMERIC, agreed, when a loss or the gradient is not finite: nothing is
 * changed. An error that one rank has alone (data, device) is not agreed and
 * ends the job.
 */
enum vd_err engine_step(struct engine *e, uint64_t step,
                        struct step_stats *done) VD_MUST_USE;

/* Local: a net of the engine's graph and weights, without an optimizer. */
struct net_spec engine_net_spec(struct engine *e, enum net_mode mode,
                                int micro_batch, int threads);

/* Local: what computes, "cpu (oneDNN 2.6.3, avx2)". */
#define ENGINE_DEVICE_MAX 128
void engine_describe_device(struct engine *e, char *out, size_t size);

/* Local: data set index of image i of this rank in the step that follows
 * `n_steps` prefetched ones. */
uint64_t engine_image_index(const struct engine *e, uint64_t n_steps, int i);

#endif
