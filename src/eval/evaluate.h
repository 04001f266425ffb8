/*
 * Exact evaluation: every image counts once, and the results have the same
 * bits at any number of ranks and threads.
 *
 * Batch b is images [b B, (b + 1) B); the last one is padded. Rank r of N
 * computes batches r, r + N, ... So an image is always in the same batch, at
 * the same position, and each batch is computed by one thread (libraries choose
 * the blocking and the order of sums by the number of threads). Threads compute
 * different batches.
 */
#ifndef VOCDIST_EVAL_EVALUATE_H
#define VOCDIST_EVAL_EVALUATE_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "data/shard.h"
#include "eval/metrics.h"

struct evaluator;

/*
 * Local. `spec` describes a NET_EVAL net: micro_batch is B, threads is the
 * number of nets that compute concurrently on this rank, or less if the backend
 * allows less (backend_ops.max_eval_nets). All arguments are
 * borrowed until evaluator_free(). Nets and their memory exist only during
 * evaluator_run().
 */
struct evaluator *evaluator_new(struct backend *backend,
                                const struct net_spec *spec,
                                const struct shard_set *data);
void evaluator_free(struct evaluator *e);

/* Local, with the same value on all ranks: evaluate the first `n_batches` only.
 * Rows of other images are not written and not in the summary. */
void evaluator_limit(struct evaluator *e, size_t n_batches);

/*
 * Collective. Fills `rows` [data->n_images] on rank 0, in data order (may be
 * NULL on other ranks), and `summary` on all ranks, with equal values.
 * VD_NUMERIC if an output is not finite; the message names the first image with
 * such outputs. The time limit of the caller's comm_enter() applies to one
 * batch, because every batch reports progress.
 */
enum vd_err evaluator_run(struct evaluator *e, struct comm *comm,
                          struct eval_row *rows,
                          struct eval_summary *summary) VD_MUST_USE;

#endif
