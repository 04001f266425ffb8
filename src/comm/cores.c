/*
 * Fair division of the cores of a node over its ranks. Every rank publishes its
 * affinity mask; a core that k ranks may use counts 1 / k for each of them.
 * Example: of two ranks on 8 cores, rank 0 may use cores 0 to 5 and rank 1
 * cores 4 to 7. Cores 4 and 5 are shared, so rank 0 gets 4 + 2 / 2 = 5 threads
 * and rank 1 gets 2 + 2 / 2 = 3. Then the CPU quota and OMP_NUM_THREADS apply.
 *
 * Invariant: the threads of all ranks of a node are not more than its cores,
 * except that every rank has at least one.
 */
#include "comm/cores.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool mask_has_core(const struct cores *c, int core)
{
    return c->bits[core / 64] >> (core % 64) & 1;
}

static int count_ranks_on_core(const struct cores *node, int n, int core)
{
    int count = 0;
    for (int r = 0; r < n; r++)
        count += mask_has_core(&node[r], core);
    return count;
}

int cores_fair_share(const struct cores *mine, const struct cores *node, int n)
{
    double share = 0;
    for (int core = 0; core < 64 * CORES_WORDS; core++)
        if (mask_has_core(mine, core))
            share += 1.0 / count_ranks_on_core(node, n, core);
    // 1/3 + 1/3 + 1/3 must be 1: 1e-6 is far above the rounding error and far
    // below 1 / ranks.
    int threads = (int)(share + 1e-6);
    return threads > 1 ? threads : 1;
}

int cores_count_idle(const struct cores *usable, const struct cores *node,
                     int n)
{
    int idle = 0;
    for (int core = 0; core < 64 * CORES_WORDS; core++)
        idle += mask_has_core(usable, core) &&
                count_ranks_on_core(node, n, core) == 0;
    return idle;
}

enum vd_err cores_read_affinity(struct cores *out)
{
    struct cores mine = {0};
    if (sched_getaffinity(0, sizeof mine, (cpu_set_t *)mine.bits) != 0)
        return VD_FAIL(VD_SYSTEM,
                       "cannot read the CPU affinity mask: %s\n"
                       "this program supports up to %d cores per host",
                       strerror(errno), 64 * CORES_WORDS);
    *out = mine;
    return VD_OK;
}

/* The kernel reduces a mask to the cores of the control group: set all cores,
 * read back the result. In a thread of its own, so that the caller's mask is
 * kept. */
static void *probe_usable_cores(void *ctx)
{
    struct cores all;
    memset(&all, 0xff, sizeof all);
    if (sched_setaffinity(0, sizeof all, (cpu_set_t *)all.bits) != 0)
        log_debug("cannot set the CPU affinity mask: %s", strerror(errno));
    if (sched_getaffinity(0, sizeof all, (cpu_set_t *)all.bits) == 0)
        *(struct cores *)ctx = all;
    return NULL;
}

enum vd_err cores_read_usable(struct cores *out)
{
    pthread_t thread;
    struct cores usable;
    VD_TRY(cores_read_affinity(&usable));
    int rc = pthread_create(&thread, NULL, probe_usable_cores, &usable);
    if (rc != 0)
        return memory_raise_no_thread("counting cores", rc);
    pthread_join(thread, NULL);
    *out = usable;
    return VD_OK;
}

static int count_cores(const struct cores *c)
{
    return cores_count_idle(c, NULL, 0);
}

/* Without control groups a Slurm job sees cores that it was not allocated. */
static int count_idle_granted(const struct cores *usable,
                              const struct cores *node, int n)
{
    int idle = cores_count_idle(usable, node, n),
        used = count_cores(usable) - idle;
    const char *text = getenv("SLURM_CPUS_ON_NODE");
    int64_t granted;
    if (!text || !text_to_int64(text, &granted) || granted >= used + idle)
        return idle;
    return granted > used ? (int)granted - used : 0;
}

static void warn_idle_cores(const struct comm *c, const int *idle)
{
    int hosts = 0, first = -1;
    for (int r = 0; r < c->size; r++)
        if (idle[r] > 0 && hosts++ == 0)
            first = r;
    if (hosts > 0)
        log_warn("%d cores of %s%s are assigned to no rank\n"
                 "mpirun binds each rank to one core: add --bind-to none; "
                 "with srun: --cpus-per-task N",
                 idle[first], c->hosts[first],
                 hosts > 1 ? ", and some of other hosts," : "");
}

static bool same_quota(const struct cpus_quota *a, const struct cpus_quota *b)
{
    return a->cpus > 0 && b->cpus > 0 && a->device == b->device &&
           a->id == b->id;
}

struct cores_threads cores_limit(const struct cores_info *mine,
                                 const struct cores_info *node, int n)
{
    struct cores *masks = xcalloc((size_t)n, sizeof *masks);
    struct cores_threads t = {0};
    int quota_ranks = 0;
    for (int r = 0; r < n; r++) {
        masks[r] = node[r].mask;
        quota_ranks += same_quota(&mine->quota, &node[r].quota);
    }
    t.n = t.share = cores_fair_share(&mine->mask, masks, n);
    free(masks);
    double allowed = quota_ranks ? mine->quota.cpus / quota_ranks : t.n;
    if (allowed + 1e-6 < t.n) {
        t.n = allowed < 1 ? 1 : (int)(allowed + 1e-6);
        t.quota = mine->quota;
        t.quota_ranks = quota_ranks;
    }
    if (mine->omp_num_threads > 0 && mine->omp_num_threads < t.n) {
        t.n = mine->omp_num_threads;
        t.quota.cpus = 0;
        t.limited_by_omp = true;
    }
    return t;
}

/* The rows of the ranks of this node, `node` [node_size]. */
static enum vd_err gather_node(struct comm *c, const struct cores_info *mine,
                               struct cores_info *node)
{
    struct cores_info *all = xcalloc((size_t)c->size, sizeof *all);
    enum vd_err err = comm_allgather(c, SITE_CORES, mine, sizeof *mine, all);
    for (int r = 0, n = 0; err == VD_OK && r < c->size; r++)
        if (all[r].node_root == c->node_root && n < c->node_size)
            node[n++] = all[r];
    free(all);
    return err;
}

/* Idle cores of this node; counted by its first rank only, else 0. */
static int count_idle_on_node(const struct comm *c, const struct cores *usable,
                              const struct cores_info *node)
{
    if (c->node_rank != 0)
        return 0;
    struct cores *masks = xcalloc((size_t)c->node_size, sizeof *masks);
    for (int r = 0; r < c->node_size; r++)
        masks[r] = node[r].mask;
    int idle = count_idle_granted(usable, masks, c->node_size);
    free(masks);
    return idle;
}

enum vd_err cores_explain_threads(struct comm *c, struct cores_threads *threads)
{
    struct cores usable = {0};
    struct cores_info mine, *node = xcalloc((size_t)c->node_size, sizeof *node);
    int *idle = xcalloc((size_t)c->size, sizeof *idle), my_idle;
    memset(&mine, 0, sizeof mine); /* padding bytes are sent, too */
    mine.node_root = c->node_root;
    mine.omp_num_threads = cpus_omp_num_threads();
    cpus_read_quota(&mine.quota, "");
    enum vd_err err = cores_read_affinity(&mine.mask);

    if (err == VD_OK)
        err = cores_read_usable(&usable);
    VD_TRY_GOTO(out, err, comm_agree(c, SITE_CORES, err));
    VD_TRY_GOTO(out, err, gather_node(c, &mine, node));
    my_idle = count_idle_on_node(c, &usable, node);
    VD_TRY_GOTO(out, err,
                comm_allgather(c, SITE_CORES, &my_idle, sizeof my_idle, idle));
    if (c->rank == 0)
        warn_idle_cores(c, idle);
    *threads = cores_limit(&mine, node, c->node_size);
out:
    free(idle);
    free(node);
    return err;
}

enum vd_err cores_assign_threads(struct comm *c, int *threads)
{
    struct cores_threads why = {0};
    VD_TRY(cores_explain_threads(c, &why));
    *threads = why.n;
    return VD_OK;
}
