/*
 * Each range passes two stages: its slices travel to their owners, which
 * finish the tree and divide; then the finished slices travel to everyone.
 * Up to PENDING ranges are on their way at a time. All ranks queue the same
 * ranges, and a rank that waits always waits for its oldest one, so no two
 * can wait for each other.
 *
 * Where the device's memory is not the host's, or the step is recorded and
 * later replayed without our knowing, the nodes are copied to the host before
 * the first range and the mean back behind the last.
 */
#include "base/mem.h"
#include "comm/comm_mpi.h"
#include "exchange/exchange.h"

#include <stdlib.h>

#define PENDING 8

enum stage { STAGE_FREE, STAGE_SCATTER, STAGE_GATHER };

/* One range on its way. */
struct transit {
    enum stage stage;
    struct range range;
    int tag;
    MPI_Request *requests; /* owned */
    int n_requests;
    float *scratch; /* owned: other ranks' nodes of my slice, one by one */
    size_t room;    /* elements in scratch */
};

struct exchange_mpi {
    MPI_Comm world;          /* our own, so that tags cannot meet others */
    struct tree_plan finish; /* of all ranks' nodes in rank order */
    int *n_nodes;            /* [size], owned: nodes that a rank has left */
    int all_nodes;
    float **targets; /* [finish.n_buffers], owned: used by finish_slice */
    /* Host memory of this rank's nodes; nodes[0] receives the mean. */
    float **nodes; /* [spec.plan->n_left], owned */
    bool copied;   /* nodes are owned copies; else the buffers' own */
    bool fetched;  /* copies are those of this step */
    struct transit transits[PENDING];
    int oldest, n_pending, next_tag;
};

/* Slice of a range that rank `owner` finishes. */
static struct range slice_of(const struct exchange *x, struct range range,
                             int owner)
{
    size_t n = (size_t)x->spec.comm->size, at = (size_t)owner;
    size_t first = range.n * at / n, end = range.n * (at + 1) / n;
    return (struct range){.first = range.first + first, .n = end - first};
}

static enum vd_err start_scatter(struct exchange *x, struct transit *t)
{
    struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    struct range mine = slice_of(x, t->range, rank);
    float *into = t->scratch;

    t->stage = STAGE_SCATTER;
    t->n_requests = 0;
    for (int k = 1; k < size; k++) {
        int from = (rank + size - k) % size;
        for (int i = 0; i < m->n_nodes[from]; i++, into += mine.n)
            MPI_TRY(MPI_Irecv(into, (int)mine.n, MPI_FLOAT, from, t->tag,
                              m->world, &t->requests[t->n_requests++]));
    }
    for (int k = 1; k < size; k++) {
        int to = (rank + k) % size;
        struct range theirs = slice_of(x, t->range, to);
        for (int i = 0; i < m->n_nodes[rank]; i++)
            MPI_TRY(MPI_Isend(m->nodes[i] + theirs.first, (int)theirs.n,
                              MPI_FLOAT, to, t->tag, m->world,
                              &t->requests[t->n_requests++]));
    }
    return VD_OK;
}

/* Where the nodes of `owner` lie for my slice: own buffers, or scratch in the
 * order in which start_scatter() asked for them. */
static float *node_memory(const struct exchange *x, const struct transit *t,
                          int owner, int node)
{
    const struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    struct range mine = slice_of(x, t->range, rank);
    if (owner == rank)
        return m->nodes[node] + mine.first;
    size_t before = (size_t)node;
    for (int k = 1; (rank + size - k) % size != owner; k++)
        before += (size_t)m->n_nodes[(rank + size - k) % size];
    return t->scratch + before * mine.n;
}

static void add_to(float *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] += src[i];
}

/* Adds up my slice along the tree and leaves its mean in nodes[0]. */
static void finish_slice(struct exchange *x, const struct transit *t)
{
    struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    struct range mine = slice_of(x, t->range, rank);
    const struct tree_plan *plan = &m->finish;
    int input = 0;

    for (int owner = 0; owner < size; owner++) {
        for (int i = 0; i < m->n_nodes[owner]; i++, input++) {
            m->targets[plan->buffer[input]] = node_memory(x, t, owner, i);
            for (int k = plan->add_start[input]; k < plan->add_start[input + 1];
                 k++)
                add_to(m->targets[plan->adds[k].dst],
                       m->targets[plan->adds[k].src], mine.n);
        }
    }
    const float *sum = m->targets[plan->left_buffer[0]];
    float *mean = m->nodes[0] + mine.first;
    const float replicas = (float)x->spec.replicas;
    for (size_t i = 0; i < mine.n; i++)
        mean[i] = sum[i] / replicas;
}

static enum vd_err start_gather(struct exchange *x, struct transit *t)
{
    struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    float *mean = m->nodes[0];
    struct range mine = slice_of(x, t->range, rank);

    finish_slice(x, t);
    t->stage = STAGE_GATHER;
    t->n_requests = 0;
    for (int k = 1; k < size; k++) {
        int from = (rank + size - k) % size;
        struct range theirs = slice_of(x, t->range, from);
        MPI_TRY(MPI_Irecv(mean + theirs.first, (int)theirs.n, MPI_FLOAT, from,
                          t->tag + 1, m->world, &t->requests[t->n_requests++]));
    }
    for (int k = 1; k < size; k++)
        MPI_TRY(MPI_Isend(mean + mine.first, (int)mine.n, MPI_FLOAT,
                          (rank + k) % size, t->tag + 1, m->world,
                          &t->requests[t->n_requests++]));
    return VD_OK;
}

/* What follows when all of a transit's requests are done. */
static enum vd_err advance(struct exchange *x, struct transit *t)
{
    if (t->stage == STAGE_SCATTER)
        return start_gather(x, t);
    t->stage = STAGE_FREE;
    return VD_OK;
}

static struct transit *pending(struct exchange_mpi *m, int i)
{
    return &m->transits[(m->oldest + i) % PENDING];
}

static void retire(struct exchange_mpi *m)
{
    while (m->n_pending > 0 && pending(m, 0)->stage == STAGE_FREE) {
        m->oldest = (m->oldest + 1) % PENDING;
        m->n_pending--;
    }
}

static enum vd_err mpi_poll(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    for (int i = 0; i < m->n_pending; i++) {
        struct transit *t = pending(m, i);
        int done = 0;
        if (t->stage != STAGE_FREE)
            MPI_TRY(MPI_Testall(t->n_requests, t->requests, &done,
                                MPI_STATUSES_IGNORE));
        if (done)
            VD_TRY(advance(x, t));
    }
    retire(m);
    return VD_OK;
}

/* Waits until the transit has left `stage`. */
static enum vd_err finish_stage(struct exchange *x, struct transit *t,
                                enum stage stage)
{
    if (t->stage != stage)
        return VD_OK;
    for (int i = 0; i < t->n_requests; i++)
        VD_TRY(comm_mpi_wait(x->spec.comm, SITE_REDUCE, &t->requests[i]));
    return advance(x, t);
}

static enum vd_err fetch(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    const struct exchange_spec *spec = &x->spec;
    for (int i = 0; i < spec->plan->n_left; i++)
        VD_TRY(spec->backend->ops->get(spec->backend, spec->graph, m->nodes[i],
                                       spec->left[i]));
    m->fetched = true;
    return VD_OK;
}

/* Scratch for all other ranks' nodes of my slice. */
static enum vd_err make_room(const struct exchange *x, struct transit *t)
{
    const struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank;
    size_t need = slice_of(x, t->range, rank).n *
                  (size_t)(m->all_nodes - m->n_nodes[rank]);
    if (need <= t->room)
        return VD_OK;
    mem_free(t->scratch);
    t->scratch = NULL;
    t->room = 0;
    VD_TRY(mem_alloc((void **)&t->scratch, need, sizeof(float),
                     "gradient slices"));
    t->room = need;
    return VD_OK;
}

static enum vd_err mpi_mean(struct exchange *x, struct range range)
{
    struct exchange_mpi *m = x->impl;
    if (m->copied && !m->fetched)
        VD_TRY(fetch(x));
    VD_TRY(mpi_poll(x));
    if (m->n_pending == PENDING) {
        struct transit *t = pending(m, 0);
        VD_TRY(finish_stage(x, t, STAGE_SCATTER));
        VD_TRY(finish_stage(x, t, STAGE_GATHER));
        retire(m);
    }
    struct transit *t = pending(m, m->n_pending++);
    t->range = range;
    t->tag = m->next_tag;
    m->next_tag = (m->next_tag + 2) % 32768; /* MPI's smallest tag limit */
    VD_TRY(make_room(x, t));
    return start_scatter(x, t);
}

static enum vd_err mpi_settle(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    const struct exchange_spec *spec = &x->spec;
    VD_TRY(fault_at(SITE_REDUCE, spec->comm->rank));
    for (int i = 0; i < m->n_pending; i++)
        VD_TRY(finish_stage(x, pending(m, i), STAGE_SCATTER));
    for (int i = 0; i < m->n_pending; i++)
        VD_TRY(finish_stage(x, pending(m, i), STAGE_GATHER));
    retire(m);
    if (!m->fetched)
        return VD_OK;
    m->fetched = false;
    return spec->backend->ops->put(spec->backend, spec->graph, spec->left[0],
                                   m->nodes[0]);
}

/* All ranks' nodes in rank order; every rank can tell them by itself. */
static void plan_finish(struct exchange *x, struct exchange_mpi *m)
{
    int size = x->spec.comm->size, replicas = x->spec.replicas;
    struct tree_node *nodes = mem_new((size_t)replicas, sizeof *nodes);
    m->n_nodes = mem_new((size_t)size, sizeof *m->n_nodes);
    for (int rank = 0; rank < size; rank++) {
        struct tree_plan plan;
        tree_plan_init_block(&plan, rank, size, replicas);
        for (int i = 0; i < plan.n_left; i++)
            nodes[m->all_nodes++] = plan.left[i];
        m->n_nodes[rank] = plan.n_left;
        tree_plan_clear(&plan);
    }
    tree_plan_init(&m->finish, replicas, nodes, m->all_nodes);
    free(nodes);
    m->targets = mem_new((size_t)m->finish.n_buffers, sizeof *m->targets);
}

/* With ranges pending nothing may be freed: MPI still writes to it. */
static void mpi_close(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    x->impl = NULL;
    if (m->n_pending > 0)
        return;
    for (int i = 0; i < PENDING; i++) {
        free(m->transits[i].requests);
        mem_free(m->transits[i].scratch);
    }
    for (int i = 0; m->copied && i < x->spec.plan->n_left; i++)
        mem_free(m->nodes[i]);
    if (m->world != MPI_COMM_NULL)
        MPI_Comm_free(&m->world);
    tree_plan_clear(&m->finish);
    free(m->nodes);
    free(m->n_nodes);
    free(m->targets);
    free(m);
}

static enum vd_err find_nodes(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    const struct exchange_spec *spec = &x->spec;
    m->nodes = mem_new((size_t)spec->plan->n_left, sizeof *m->nodes);
    m->copied = !x->in_step;
    for (int i = 0; i < spec->plan->n_left; i++) {
        if (x->in_step)
            m->nodes[i] = spec->left[i]->data;
        else
            VD_TRY(mem_alloc((void **)&m->nodes[i], spec->left[i]->n,
                             sizeof(float), "copies of gradients"));
    }
    return VD_OK;
}

/* Requests of one transit: scatter has more of them than gather. */
static size_t most_requests(const struct exchange *x)
{
    const struct exchange_mpi *m = x->impl;
    size_t own = (size_t)m->n_nodes[x->spec.comm->rank];
    return (size_t)m->all_nodes + own * (size_t)x->spec.comm->size;
}

/* With a time limit, unlike MPI_Comm_dup. */
static enum vd_err copy_world(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    MPI_Request request;
    MPI_TRY(MPI_Comm_idup(comm_mpi_world(x->spec.comm), &m->world, &request));
    return comm_mpi_wait(x->spec.comm, SITE_EXCHANGE, &request);
}

static enum vd_err mpi_open(struct exchange *x)
{
    struct exchange_mpi *m = mem_new(1, sizeof *m);
    enum vd_err err;
    m->world = MPI_COMM_NULL;
    x->impl = m;
    unsigned caps = x->spec.backend->ops->caps;
    x->in_step = (caps & BACKEND_HOST_MEMORY) && !(caps & BACKEND_CAPTURE);
    plan_finish(x, m);
    for (int i = 0; i < PENDING; i++)
        m->transits[i].requests =
            mem_new(most_requests(x), sizeof(MPI_Request));
    VD_TRY_ELSE(fail, err, copy_world(x));
    VD_TRY_ELSE(fail, err, find_nodes(x));
    return VD_OK;
fail:
    mpi_close(x);
    return err;
}

extern const struct exchange_ops exchange_mpi;
const struct exchange_ops exchange_mpi = {
    .name = "mpi",
    .open = mpi_open,
    .close = mpi_close,
    .mean = mpi_mean,
    .poll = mpi_poll,
    .settle = mpi_settle,
};
