/* Where memory ends: what the user of this run can change. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/setup.h"

#include <stdlib.h>

/* Adds one hint; `n` counts them. */
#define ADD_HINT(out, n, ...)                          \
    do {                                               \
        text_add((out), "%s", (n)++ ? "; " : "give "); \
        text_add((out), __VA_ARGS__);                  \
    } while (0)

/* The smallest number of equal parts, of two images or more; 1: none. */
static int64_t smallest_split(int64_t micro_batch)
{
    for (int64_t parts = 2; micro_batch / parts >= 2; parts++)
        if (micro_batch % parts == 0)
            return parts;
    return 1;
}

/* Nothing is advised that is as small as it can be. A run that is resumed
 * keeps its replicas. */
void memory_hints_set(const struct trainer *t)
{
    const struct config *c = t->config;
    const struct batch_plan *b = &t->batch;
    int64_t parts = t->resume ? 1 : smallest_split(b->micro_batch);
    struct text hints = {0};
    int n = 0;
    if (parts > 1)
        ADD_HINT(&hints, n,
                 "--train.micro_batch %lld --train.replicas %lld (now %lld and "
                 "%lld: the same global batch)",
                 (long long)(b->micro_batch / parts),
                 (long long)(b->replicas * parts), (long long)b->micro_batch,
                 (long long)b->replicas);
    if (t->has_val && c->eval.batch > 1)
        ADD_HINT(&hints, n, "--eval.batch %lld (now %lld)",
                 (long long)(c->eval.batch / 2), (long long)c->eval.batch);
    if (t->loader_threads > 1)
        ADD_HINT(&hints, n, "--data.loader_threads 1 (now %d)",
                 t->loader_threads);
    if (t->comm->node_size > 1)
        ADD_HINT(&hints, n, "fewer ranks to this host (now %d)",
                 t->comm->node_size);
    ADD_HINT(&hints, n, "each rank more memory");
    memory_set_oom_hint(hints.bytes);
    free(hints.bytes);
}

/* What a rank tells the first one of its node. */
struct memory_need {
    uint64_t bytes;
    int node_root;
};

/* Rank 0 holds a copy of the whole state while a checkpoint is written. */
static uint64_t local_need(const struct trainer *t, const struct memory *m)
{
    const struct graph *g = &t->graph;
    uint64_t state =
        sizeof(float) * (g->n_params + 2 * g->n_trainable + g->n_stats);
    uint64_t later = m->resident + (t->comm->rank == 0 ? state : 0);
    return later > m->peak ? later : m->peak;
}

static void check_node_limit(const struct comm *c, const struct memory *m,
                             const struct memory_need *needs)
{
    uint64_t sum = 0, limit = memory_shared_limit(m);
    for (int r = 0; r < c->size; r++)
        sum += needs[r].node_root == c->rank ? needs[r].bytes : 0;
    if (limit == 0 || sum <= limit)
        return;
    log_warn("the %d ranks on %s need %.0f MB together, and the %s has %.0f "
             "MB: the system may kill them\n%s",
             c->node_size, c->hosts[c->rank], (double)sum * 1e-6,
             limit < m->machine_total ? "control group" : "machine",
             (double)limit * 1e-6, memory_oom_hint());
}

enum vd_err trainer_check_memory(struct trainer *t)
{
    const struct comm *c = t->comm;
    struct memory m;
    memory_read(&m, "");
    struct memory_need mine = {local_need(t, &m), c->node_root};
    struct memory_need *all = xcalloc((size_t)c->size, sizeof *all);
    enum vd_err err =
        comm_allgather(t->comm, SITE_STEP, &mine, sizeof mine, all);
    if (err == VD_OK && c->node_rank == 0)
        check_node_limit(c, &m, all);
    free(all);
    return err;
}
