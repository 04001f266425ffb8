#include "comm/cores.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool holds(const struct cores *c, int core)
{
    return c->bits[core / 64] >> (core % 64) & 1;
}

static int holders(const struct cores *node, int n, int core)
{
    int count = 0;
    for (int r = 0; r < n; r++)
        count += holds(&node[r], core);
    return count;
}

int cores_share(const struct cores *mine, const struct cores *node, int n)
{
    double share = 0;
    for (int core = 0; core < 64 * CORES_WORDS; core++)
        if (holds(mine, core))
            share += 1.0 / holders(node, n, core);
    // Three thirds must be one: far above rounding, far below 1 / ranks.
    int threads = (int)(share + 1e-6);
    return threads > 1 ? threads : 1;
}

int cores_idle(const struct cores *usable, const struct cores *node, int n)
{
    int idle = 0;
    for (int core = 0; core < 64 * CORES_WORDS; core++)
        idle += holds(usable, core) && holders(node, n, core) == 0;
    return idle;
}

enum vd_err cores_mine(struct cores *out)
{
    struct cores mine = {0};
    if (sched_getaffinity(0, sizeof mine, (cpu_set_t *)mine.bits) != 0)
        return VD_FAIL(VD_SYSTEM, "cannot read the mask of cores: %s",
                       strerror(errno));
    *out = mine;
    return VD_OK;
}

/* The kernel cuts a mask down to the cores of the control group: ask for all,
 * read back what was given. In a thread, so that ours stays as it is. */
static void *ask_for_all(void *ctx)
{
    struct cores all;
    memset(&all, 0xff, sizeof all);
    if (sched_setaffinity(0, sizeof all, (cpu_set_t *)all.bits) != 0)
        log_debug("cannot ask for all cores: %s", strerror(errno));
    if (sched_getaffinity(0, sizeof all, (cpu_set_t *)all.bits) == 0)
        *(struct cores *)ctx = all;
    return NULL;
}

enum vd_err cores_usable(struct cores *out)
{
    pthread_t thread;
    struct cores usable;
    VD_TRY(cores_mine(&usable));
    int rc = pthread_create(&thread, NULL, ask_for_all, &usable);
    if (rc != 0)
        return memory_no_thread("counting cores", rc);
    pthread_join(thread, NULL);
    *out = usable;
    return VD_OK;
}

static int count_of(const struct cores *c)
{
    return cores_idle(c, NULL, 0);
}

/* Without control groups a Slurm job sees cores that are not its own. */
static int idle_here(const struct cores *usable, const struct cores *node,
                     int n)
{
    int idle = cores_idle(usable, node, n), used = count_of(usable) - idle;
    const char *text = getenv("SLURM_CPUS_ON_NODE");
    int64_t granted;
    if (!text || !text_to_int64(text, &granted) || granted >= used + idle)
        return idle;
    return granted > used ? (int)granted - used : 0;
}

static void warn_of_idle(const struct comm *c, const int *idle)
{
    int hosts = 0, first = -1;
    for (int r = 0; r < c->size; r++)
        if (idle[r] > 0 && hosts++ == 0)
            first = r;
    if (hosts > 0)
        log_warn("%d cores of %s%s are given to no rank\n"
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

struct cores_threads cores_limit(const struct cores_row *mine,
                                 const struct cores_row *node, int n)
{
    struct cores *masks = mem_new((size_t)n, sizeof *masks);
    struct cores_threads t = {0};
    int sharers = 0;
    for (int r = 0; r < n; r++) {
        masks[r] = node[r].mask;
        sharers += same_quota(&mine->quota, &node[r].quota);
    }
    t.n = t.share = cores_share(&mine->mask, masks, n);
    free(masks);
    double allowed = sharers ? mine->quota.cpus / sharers : t.n;
    if (allowed + 1e-6 < t.n) {
        t.n = allowed < 1 ? 1 : (int)(allowed + 1e-6);
        t.quota = mine->quota;
        t.sharers = sharers;
    }
    if (mine->openmp > 0 && mine->openmp < t.n) {
        t.n = mine->openmp;
        t.quota.cpus = 0;
        t.by_openmp = true;
    }
    return t;
}

/* The rows of the ranks on our node, `node` [node_size]. */
static enum vd_err gather_node(struct comm *c, const struct cores_row *mine,
                               struct cores_row *node)
{
    struct cores_row *all = mem_new((size_t)c->size, sizeof *all);
    enum vd_err err = comm_allgather(c, SITE_CORES, mine, sizeof *mine, all);
    for (int r = 0, n = 0; err == VD_OK && r < c->size; r++)
        if (all[r].node_root == c->node_root && n < c->node_size)
            node[n++] = all[r];
    free(all);
    return err;
}

/* Of this node, by its first rank. */
static int count_idle(const struct comm *c, const struct cores *usable,
                      const struct cores_row *node)
{
    if (c->node_rank != 0)
        return 0;
    struct cores *masks = mem_new((size_t)c->node_size, sizeof *masks);
    for (int r = 0; r < c->node_size; r++)
        masks[r] = node[r].mask;
    int idle = idle_here(usable, masks, c->node_size);
    free(masks);
    return idle;
}

enum vd_err cores_divide_why(struct comm *c, struct cores_threads *threads)
{
    struct cores usable = {0};
    struct cores_row mine, *node = mem_new((size_t)c->node_size, sizeof *node);
    int *idle = mem_new((size_t)c->size, sizeof *idle), my_idle;
    memset(&mine, 0, sizeof mine); /* padding travels, too */
    mine.node_root = c->node_root;
    mine.openmp = cpus_of_openmp();
    cpus_read_quota(&mine.quota, "");
    enum vd_err err = cores_mine(&mine.mask);

    if (err == VD_OK)
        err = cores_usable(&usable);
    VD_TRY_ELSE(out, err, comm_agree(c, SITE_CORES, err));
    VD_TRY_ELSE(out, err, gather_node(c, &mine, node));
    my_idle = count_idle(c, &usable, node);
    VD_TRY_ELSE(out, err,
                comm_allgather(c, SITE_CORES, &my_idle, sizeof my_idle, idle));
    if (c->rank == 0)
        warn_of_idle(c, idle);
    *threads = cores_limit(&mine, node, c->node_size);
out:
    free(idle);
    free(node);
    return err;
}

enum vd_err cores_divide(struct comm *c, int *threads)
{
    struct cores_threads why = {0};
    VD_TRY(cores_divide_why(c, &why));
    *threads = why.n;
    return VD_OK;
}
