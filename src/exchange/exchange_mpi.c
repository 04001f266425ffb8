/*
 * Exchange mpi: a pipelined all-reduce with a fixed order of additions.
 *
 * Each bucket (range) passes two stages. Reduce-scatter: every rank sends slice
 * i of its partial sums to rank i, which adds them in the order of the
 * reduction tree and divides by R. All-gather: the owner sends its slice of the
 * mean to all ranks. Point-to-point messages: MPI_Ireduce_scatter does not fix
 * the order of additions.
 *
 * train/step.c sets the order of the buckets, the same on all ranks (in_step:
 * batch statistics and non-finite flag, then gradients from head to stem).
 * Up to MAX_INFLIGHT are in flight; a rank always waits for its oldest one, so
 * there is no deadlock. An exchange that is not in_step copies its partial sums
 * to the host first, and the mean back at the end.
 */
#include "base/alloc.h"
#include "comm/comm_mpi.h"
#include "comm/phase.h"
#include "exchange/exchange_internal.h"

#include <stdlib.h>

#define MAX_INFLIGHT 8 /* buckets */

/*
 * The life of one bucket: elements [0, 10) of R = 8 replicas on 3 ranks. g3 is
 * the gradient of replica 3, [3, 6) the elements of a slice.
 *
 *     rank   replicas   partial sums      owns slice
 *     0      0 1        g0+g1             [0, 3)
 *     1      2 3 4      g2+g3, g4         [3, 6)
 *     2      5 6 7      g5, g6+g7         [6, 10)
 *
 * As seen by rank 1:
 *
 *     enqueue_mean    receive [3, 6) of g0+g1 from rank 0, and of g5 and g6+g7
 *                     from rank 2, into scratch (3 x 3 elements); send g2+g3
 *                     and g4, [0, 3) to rank 0 and [6, 10) to rank 2.
 *                     Stage: STAGE_REDUCE_SCATTER
 *     all received    over [3, 6), in rank order and along the tree:
 *                     mean = (((g0+g1)+(g2+g3)) + ((g4+g5)+(g6+g7))) / 8,
 *                     written to partials[0]. Send it to ranks 0 and 2, receive
 *                     [0, 3) and [6, 10) from them into partials[0].
 *                     Stage: STAGE_ALL_GATHER
 *     all received    partials[0] holds the mean of [0, 10) on every rank.
 *                     Stage: STAGE_COMPLETED; the entry is reused
 */

enum inflight_stage { STAGE_COMPLETED, STAGE_REDUCE_SCATTER, STAGE_ALL_GATHER };

/* One bucket in flight. */
struct inflight {
    enum inflight_stage stage;
    struct range range;
    int tag;
    MPI_Request *requests; /* owned */
    int n_requests;
    float *scratch; /* owned: other ranks' partial sums of this rank's slice */
    size_t scratch_capacity; /* elements in scratch */
};

struct exchange_mpi {
    MPI_Comm mpi_comm; /* a duplicate: its tags cannot match other messages */
    /* Its inputs are the partial sums of all ranks, in rank order. */
    struct reduction_plan final_plan;
    int *n_partials; /* [size], owned: number of partial sums of each rank */
    float **reduce_buffers; /* [final_plan.n_buffers], owned: used by
                               reduce_slice */
    /* This rank's partial sums on the host; partials[0] receives the mean. */
    float **partials;       /* [spec.plan->n_partials], owned */
    bool partials_copied;   /* partials[i] are owned copies, not the buffers */
    bool host_copies_valid; /* copied in this step */
    struct inflight inflight[MAX_INFLIGHT];
    int oldest, n_inflight, next_tag;
};

/* The slice of `range` that rank `owner` reduces. */
static struct range slice_of(const struct exchange *x, struct range range,
                             int owner)
{
    size_t n = (size_t)x->spec.comm->size, at = (size_t)owner;
    size_t first = range.n * at / n, end = range.n * (at + 1) / n;
    return (struct range){.first = range.first + first, .n = end - first};
}

static enum vd_err start_reduce_scatter(struct exchange *x, struct inflight *f)
{
    struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    struct range mine = slice_of(x, f->range, rank);
    float *into = f->scratch;

    f->stage = STAGE_REDUCE_SCATTER;
    f->n_requests = 0;
    for (int k = 1; k < size; k++) {
        int from = (rank + size - k) % size;
        for (int i = 0; i < m->n_partials[from]; i++, into += mine.n)
            MPI_TRY(MPI_Irecv(into, (int)mine.n, MPI_FLOAT, from, f->tag,
                              m->mpi_comm, &f->requests[f->n_requests++]));
    }
    for (int k = 1; k < size; k++) {
        int to = (rank + k) % size;
        struct range theirs = slice_of(x, f->range, to);
        for (int i = 0; i < m->n_partials[rank]; i++)
            MPI_TRY(MPI_Isend(m->partials[i] + theirs.first, (int)theirs.n,
                              MPI_FLOAT, to, f->tag, m->mpi_comm,
                              &f->requests[f->n_requests++]));
    }
    return VD_OK;
}

/* Address of a partial sum of `owner` over this rank's slice: in this rank's
 * own buffer, or in scratch in the order in which start_reduce_scatter() posts
 * the receives. */
static float *partial_slice(const struct exchange *x, const struct inflight *f,
                            int owner, int partial)
{
    const struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    struct range mine = slice_of(x, f->range, rank);
    if (owner == rank)
        return m->partials[partial] + mine.first;
    size_t before = (size_t)partial;
    for (int k = 1; (rank + size - k) % size != owner; k++)
        before += (size_t)m->n_partials[(rank + size - k) % size];
    return f->scratch + before * mine.n;
}

static void add_to(float *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] += src[i];
}

/* Adds this rank's slice in the order of the tree and writes its mean to
 * partials[0]. Additions overwrite the partial sums and scratch. */
static void reduce_slice(struct exchange *x, const struct inflight *f)
{
    struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    struct range mine = slice_of(x, f->range, rank);
    const struct reduction_plan *plan = &m->final_plan;
    int input = 0;

    for (int owner = 0; owner < size; owner++) {
        for (int i = 0; i < m->n_partials[owner]; i++, input++) {
            m->reduce_buffers[plan->buffer[input]] =
                partial_slice(x, f, owner, i);
            for (int k = plan->add_start[input]; k < plan->add_start[input + 1];
                 k++)
                add_to(m->reduce_buffers[plan->adds[k].dst],
                       m->reduce_buffers[plan->adds[k].src], mine.n);
        }
    }
    const float *sum = m->reduce_buffers[plan->partial_buffer[0]];
    float *mean = m->partials[0] + mine.first;
    const float replicas = (float)x->spec.replicas;
    for (size_t i = 0; i < mine.n; i++)
        mean[i] = sum[i] / replicas;
}

static enum vd_err start_all_gather(struct exchange *x, struct inflight *f)
{
    struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank, size = x->spec.comm->size;
    float *mean = m->partials[0];
    struct range mine = slice_of(x, f->range, rank);

    reduce_slice(x, f);
    f->stage = STAGE_ALL_GATHER;
    f->n_requests = 0;
    for (int k = 1; k < size; k++) {
        int from = (rank + size - k) % size;
        struct range theirs = slice_of(x, f->range, from);
        MPI_TRY(MPI_Irecv(mean + theirs.first, (int)theirs.n, MPI_FLOAT, from,
                          f->tag + 1, m->mpi_comm,
                          &f->requests[f->n_requests++]));
    }
    for (int k = 1; k < size; k++)
        MPI_TRY(MPI_Isend(mean + mine.first, (int)mine.n, MPI_FLOAT,
                          (rank + k) % size, f->tag + 1, m->mpi_comm,
                          &f->requests[f->n_requests++]));
    return VD_OK;
}

/* Called when all requests of the current stage are complete. */
static enum vd_err next_stage(struct exchange *x, struct inflight *f)
{
    if (f->stage == STAGE_REDUCE_SCATTER)
        return start_all_gather(x, f);
    f->stage = STAGE_COMPLETED;
    return VD_OK;
}

static struct inflight *inflight_at(struct exchange_mpi *m, int i)
{
    return &m->inflight[(m->oldest + i) % MAX_INFLIGHT];
}

static void pop_completed(struct exchange_mpi *m)
{
    while (m->n_inflight > 0 && inflight_at(m, 0)->stage == STAGE_COMPLETED) {
        m->oldest = (m->oldest + 1) % MAX_INFLIGHT;
        m->n_inflight--;
    }
}

static enum vd_err mpi_test(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    for (int i = 0; i < m->n_inflight; i++) {
        struct inflight *f = inflight_at(m, i);
        int done = 0;
        if (f->stage != STAGE_COMPLETED)
            MPI_TRY(MPI_Testall(f->n_requests, f->requests, &done,
                                MPI_STATUSES_IGNORE));
        if (done)
            VD_TRY(next_stage(x, f));
    }
    pop_completed(m);
    return VD_OK;
}

/* Waits until the bucket has left `stage`. */
static enum vd_err wait_stage(struct exchange *x, struct inflight *f,
                              enum inflight_stage stage)
{
    if (f->stage != stage)
        return VD_OK;
    for (int i = 0; i < f->n_requests; i++)
        VD_TRY(comm_mpi_wait(x->spec.comm, SITE_REDUCE, &f->requests[i]));
    return next_stage(x, f);
}

static enum vd_err copy_partials_to_host(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    const struct exchange_spec *spec = &x->spec;
    for (int i = 0; i < spec->plan->n_partials; i++)
        VD_TRY(spec->backend->ops->get(spec->backend, spec->graph,
                                       m->partials[i], spec->partials[i]));
    m->host_copies_valid = true;
    return VD_OK;
}

/* Scratch for the other ranks' partial sums of this rank's slice. */
static enum vd_err ensure_inflight_scratch(const struct exchange *x,
                                           struct inflight *f)
{
    const struct exchange_mpi *m = x->impl;
    int rank = x->spec.comm->rank;
    size_t need = slice_of(x, f->range, rank).n *
                  (size_t)(m->final_plan.n_inputs - m->n_partials[rank]);
    if (need <= f->scratch_capacity)
        return VD_OK;
    alloc_aligned_free(f->scratch);
    f->scratch = NULL;
    f->scratch_capacity = 0;
    VD_TRY(alloc_aligned((void **)&f->scratch, need, sizeof(float),
                         "gradient slices"));
    f->scratch_capacity = need;
    return VD_OK;
}

static enum vd_err mpi_enqueue_mean(struct exchange *x, struct range range)
{
    struct exchange_mpi *m = x->impl;
    if (m->partials_copied && !m->host_copies_valid)
        VD_TRY(copy_partials_to_host(x));
    VD_TRY(mpi_test(x));
    if (m->n_inflight == MAX_INFLIGHT) {
        struct inflight *f = inflight_at(m, 0);
        VD_TRY(wait_stage(x, f, STAGE_REDUCE_SCATTER));
        VD_TRY(wait_stage(x, f, STAGE_ALL_GATHER));
        pop_completed(m);
    }
    struct inflight *f = inflight_at(m, m->n_inflight++);
    f->range = range;
    f->tag = m->next_tag;
    /* Two tags per bucket, one for each stage; MPI allows 32767 at least. */
    m->next_tag = (m->next_tag + 2) % 32768;
    VD_TRY(ensure_inflight_scratch(x, f));
    return start_reduce_scatter(x, f);
}

static enum vd_err mpi_wait_all(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    const struct exchange_spec *spec = &x->spec;
    for (int i = 0; i < m->n_inflight; i++)
        VD_TRY(wait_stage(x, inflight_at(m, i), STAGE_REDUCE_SCATTER));
    for (int i = 0; i < m->n_inflight; i++)
        VD_TRY(wait_stage(x, inflight_at(m, i), STAGE_ALL_GATHER));
    pop_completed(m);
    if (!m->host_copies_valid)
        return VD_OK;
    m->host_copies_valid = false;
    return spec->backend->ops->put(spec->backend, spec->graph,
                                   spec->partials[0], m->partials[0]);
}

/* Frees nothing while buckets are in flight: MPI still writes to the memory. */
static void mpi_close(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    x->impl = NULL;
    if (m->n_inflight > 0)
        return;
    for (int i = 0; i < MAX_INFLIGHT; i++) {
        free(m->inflight[i].requests);
        alloc_aligned_free(m->inflight[i].scratch);
    }
    for (int i = 0; m->partials_copied && i < x->spec.plan->n_partials; i++)
        alloc_aligned_free(m->partials[i]);
    if (m->mpi_comm != MPI_COMM_NULL)
        MPI_Comm_free(&m->mpi_comm);
    reduction_plan_clear(&m->final_plan);
    free(m->partials);
    free(m->n_partials);
    free(m->reduce_buffers);
    free(m);
}

static enum vd_err map_partials(void *ctx)
{
    struct exchange *x = ctx;
    struct exchange_mpi *m = x->impl;
    const struct exchange_spec *spec = &x->spec;
    m->partials = xcalloc((size_t)spec->plan->n_partials, sizeof *m->partials);
    m->partials_copied = !x->in_step;
    for (int i = 0; i < spec->plan->n_partials; i++) {
        if (x->in_step)
            m->partials[i] = spec->partials[i]->data;
        else
            VD_TRY(alloc_aligned((void **)&m->partials[i], spec->partials[i]->n,
                                 sizeof(float), "copies of gradients"));
    }
    return VD_OK;
}

/* Upper bound of the requests of one bucket; reduce-scatter has the most. */
static size_t max_requests(const struct exchange *x)
{
    const struct exchange_mpi *m = x->impl;
    size_t own = (size_t)m->n_partials[x->spec.comm->rank];
    return (size_t)m->final_plan.n_inputs + own * (size_t)x->spec.comm->size;
}

/* MPI_Comm_idup, because MPI_Comm_dup has no time limit. Not in a phase, which
 * would hold back the message of a timeout and wait for the ranks again. After
 * an error nothing is freed: MPI may still write to m->mpi_comm. */
static enum vd_err dup_world(struct exchange *x)
{
    struct exchange_mpi *m = x->impl;
    MPI_Request request;
    MPI_TRY(
        MPI_Comm_idup(comm_mpi_world(x->spec.comm), &m->mpi_comm, &request));
    return comm_mpi_wait(x->spec.comm, SITE_EXCHANGE, &request);
}

static enum vd_err mpi_open(struct exchange *x)
{
    struct exchange_mpi *m = xcalloc(1, sizeof *m);
    m->mpi_comm = MPI_COMM_NULL;
    x->impl = m;
    unsigned caps = x->spec.backend->ops->caps;
    x->in_step = (caps & BACKEND_HOST_MEMORY) && !(caps & BACKEND_CAPTURE);
    m->n_partials = xcalloc((size_t)x->spec.comm->size, sizeof *m->n_partials);
    reduction_plan_init_final(&m->final_plan, x->spec.comm->size,
                              x->spec.replicas, m->n_partials);
    m->reduce_buffers =
        xcalloc((size_t)m->final_plan.n_buffers, sizeof *m->reduce_buffers);
    for (int i = 0; i < MAX_INFLIGHT; i++)
        m->inflight[i].requests = xcalloc(max_requests(x), sizeof(MPI_Request));
    enum vd_err err = comm_phase(x->spec.comm, SITE_EXCHANGE, map_partials, x);
    if (err != VD_OK)
        mpi_close(x);
    return err == VD_OK ? dup_world(x) : err;
}

const struct exchange_ops exchange_mpi = {
    .name = "mpi",
    .open = mpi_open,
    .close = mpi_close,
    .enqueue_mean = mpi_enqueue_mean,
    .test = mpi_test,
    .wait_all = mpi_wait_all,
};
