/*
 * The parts of a training step: graph, backend, weights, network, gradient
 * exchange and prefetched input. Sessions and benchmarks call it for each step.
 * It is independent of runs, epochs and output files.
 *
 * Call order, each once: engine_init, engine_build_graph, engine_open_device,
 * engine_compare_devices, (engine_tune), engine_build_net, engine_connect,
 * engine_put, engine_start_prefetch; then engine_step() as often as needed, and
 * engine_close(), which may follow any of them, also after an error.
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

/* In fp16 a step that is not finite is skipped and the loss scale is halved;
 * this many of them in a row end the run. */
#define ENGINE_MAX_NON_FINITE_IN_ROW 20

struct engine {
    struct comm *comm;            /* borrowed */
    const struct config *config;  /* borrowed */
    const struct shard_set *data; /* borrowed: the training set */
    struct graph graph;
    struct backend backend;
    struct weights weights;
    void *tuning; /* owned: the plan of the training net (backend_ops.tune);
                     NULL: none */
    size_t tuning_bytes;
    struct net *net;
    struct step step;
    struct prefetch_spec input;
    struct prefetch *prefetch; /* NULL: no steps to prefetch for */
    struct result *results;    /* [n_local], of the last collected step */
    int n_local;               /* images of this rank in a step */
    uint64_t launched;         /* steps launched since the prefetch started */
    uint64_t collected;        /* of those, collected */
    double last_collect;       /* clock_now() at the end of the last step */
};

/* Local. Nothing to free until engine_build_graph(). */
void engine_init(struct engine *e, struct comm *comm,
                 const struct config *config, const struct shard_set *data);
/* Local: joins the prefetch thread and frees everything that is owned. */
void engine_close(struct engine *e);

/* Local: the graph of the config, with class weights if loss.weights is
 * balanced. */
enum vd_err engine_build_graph(struct engine *e) VD_MUST_USE;
/* Local: opens the backend of the config, one device per rank of a node. */
enum vd_err engine_open_device(struct engine *e) VD_MUST_USE;
/* Collective: VD_CONFIG unless all ranks compute on devices of one kind,
 * because gradients are exchanged in the device's own layout, and no two ranks
 * of a host share a device that is for one rank (backend_ops.device_id). */
enum vd_err engine_compare_devices(struct engine *e) VD_MUST_USE;
/* Local: measures a tuning plan for the plan's batch and compute threads. */
enum vd_err engine_tune(struct engine *e,
                        const struct train_plan *plan) VD_MUST_USE;
/* Local: allocates weights, the training net (with the tuning plan, if there is
 * one) and the step's buffers for the plan's batch and compute threads. */
enum vd_err engine_build_net(struct engine *e,
                             const struct train_plan *plan) VD_MUST_USE;
/* Collective: opens the exchange of the config. Errors as exchange_open(). */
enum vd_err engine_connect(struct engine *e) VD_MUST_USE;

/* Local: copies values to the device; moments only if `moments` (they are
 * zeros until then). */
enum vd_err engine_put(struct engine *e, const struct checkpoint *values,
                       bool moments) VD_MUST_USE;
/* Local: sets and reads the state of loss scaling, [SCALER_N]. If it is zeros,
 * the initial one of the config is set. */
enum vd_err engine_put_scaler(struct engine *e,
                              const float *scaler) VD_MUST_USE;
enum vd_err engine_get_scaler(struct engine *e, float *scaler) VD_MUST_USE;
/* Local: copies all values from the device into a new checkpoint, which the
 * caller clears, also after an error. */
enum vd_err engine_get(struct engine *e, struct checkpoint *values) VD_MUST_USE;

/* Local: starts prefetching for the `n_steps` steps after step `first`; 0:
 * starts no thread, and engine_step() must not be called. With `repeat`, each
 * step gets the images of the first one. */
enum vd_err engine_start_prefetch(struct engine *e,
                                  const struct train_plan *plan, uint64_t first,
                                  uint64_t n_steps, bool repeat) VD_MUST_USE;

/*
 * Collective: trains the next step on the next prefetched batches and waits for
 * it. `until`, equal on all ranks, is the last step (from 1) that may already
 * be launched: the device then computes it while the host is between steps. No
 * step is in flight after the one that `until` names. `done` gets the step's
 * timings, results its losses. VD_NUMERIC, agreed, if a loss or the gradient is
 * not finite (in fp16: ENGINE_MAX_NON_FINITE_IN_ROW times): weights and moments
 * are unchanged, also by the steps in flight. An error on one rank only (data,
 * device) is not agreed and must end the job.
 */
enum vd_err engine_step(struct engine *e, uint64_t until,
                        struct step_stats *done) VD_MUST_USE;
/* Local, equal on all ranks: the last step that was launched. */
uint64_t engine_last_launched(const struct engine *e);

/* Local: whether train.precision is fp16, with which losses are scaled. */
bool engine_is_fp16(const struct engine *e);

/* Local: the spec of a net on the engine's graph and weights, which it borrows;
 * without an optimizer. */
struct net_spec engine_net_spec(struct engine *e, enum net_mode mode,
                                int micro_batch, int threads);

/* Local: backend and library, such as "cpu (oneDNN 2.6.3, avx2)". */
#define ENGINE_DEVICE_MAX 128
void engine_describe_device(struct engine *e, char *out, size_t size);

/* Local: data set index of image i of this rank in the step that follows
 * `n_steps` prefetched ones. */
uint64_t engine_image_index(const struct engine *e, uint64_t n_steps, int i);

#endif
