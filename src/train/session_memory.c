/* Warns before the kernel kills a rank: compares the memory of a node's ranks
 * with the node's memory or control group limit. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/session.h"

#include <stdlib.h>

struct memory_need {
    uint64_t bytes;
    int node_root; /* first rank of the node */
};

/* Rank 0 holds a copy of the whole state while a checkpoint is written. */
static uint64_t local_need(const struct session *s, const struct memory *m)
{
    const struct graph *g = &s->engine.graph;
    uint64_t state =
        sizeof(float) * (g->n_params + 2 * g->n_trainable + g->n_stats);
    uint64_t later = m->resident + (s->comm->rank == 0 ? state : 0);
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

enum vd_err session_check_memory(struct session *s)
{
    struct comm *c = s->comm;
    struct memory m;
    memory_read(&m, "");
    struct memory_need mine = {local_need(s, &m), c->node_root};
    struct memory_need *all = xcalloc((size_t)c->size, sizeof *all);
    enum vd_err err = comm_allgather(c, SITE_STEP, &mine, sizeof mine, all);
    if (err == VD_OK && c->node_rank == 0)
        check_node_limit(c, &m, all);
    free(all);
    return err;
}
