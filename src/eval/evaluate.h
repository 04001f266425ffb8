/*
 * Exact evaluation: every image once, at any number of ranks and threads,
 * with the same bits.
 *
 * Batch b is images [b B, (b + 1) B), the last one padded; rank r takes
 * b = r, r + N, ... An image has the same neighbours and the same place
 * whoever computes it, and a batch is computed by ONE thread (libraries choose
 * blocking and split sums by the number of threads); threads take different
 * batches.
 */
#ifndef VOCDIST_EVAL_EVALUATE_H
#define VOCDIST_EVAL_EVALUATE_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "data/shard.h"
#include "eval/metrics.h"

struct evaluator;

/*
 * Local. `spec` is of a NET_EVAL net: its micro_batch is B; threads is how
 * many nets compute at once here. All borrowed until free. The nets, and their
 * memory, are there only while it runs.
 */
struct evaluator *evaluator_new(struct backend *backend,
                                const struct net_spec *spec,
                                const struct shard_set *data);
void evaluator_free(struct evaluator *e);

/* Local, the same on all ranks: only the first `n_batches` are computed; rows
 * of other images stay as they are, the summary is without them. */
void evaluator_limit(struct evaluator *e, size_t n_batches);

/*
 * Collective. On rank 0 `rows` [data->n_images] is filled in data order (may
 * be NULL elsewhere); the summary is the same on all ranks. VD_NUMERIC, naming
 * the first image, where outputs are not finite. The time limit of the
 * caller's comm_enter() is for a batch.
 */
enum vd_err evaluator_run(struct evaluator *e, struct comm *comm,
                          struct eval_row *rows,
                          struct eval_summary *summary) VD_MUST_USE;

#endif
