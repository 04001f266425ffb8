/*
 * Time of one exchange, without anything beside it:
 *
 *     mpirun -np N bench_exchange [ELEMENTS [REPLICAS [REPEATS]]]
 *
 * Prints the best and the median of the repeats, as rank 0 saw them.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "exchange/exchange.h"

#include <stdio.h>
#include <stdlib.h>

struct bench {
    struct comm comm;
    struct backend backend;
    struct tree_plan plan;
    struct exchange x;
    struct buf *buffers;
    struct buf **left;
    size_t n;
};

static enum vd_err open_all(struct bench *b, int replicas)
{
    struct backend_config config = {.tune = "off"};
    struct graph g = {.n_exchange = b->n};
    VD_TRY(backend_open(&b->backend, "ref", &config));
    tree_plan_init_block(&b->plan, b->comm.rank, b->comm.size, replicas);
    b->buffers = mem_new((size_t)b->plan.n_left, sizeof *b->buffers);
    b->left = mem_new((size_t)b->plan.n_left, sizeof *b->left);
    for (int i = 0; i < b->plan.n_left; i++) {
        b->left[i] = &b->buffers[i];
        VD_TRY(
            b->backend.ops->alloc(&b->backend, &g, BUF_EXCHANGE, b->left[i]));
        for (size_t k = 0; k < b->n; k++)
            b->left[i]->data[k] = 1;
    }
    struct exchange_spec spec = {.comm = &b->comm,
                                 .backend = &b->backend,
                                 .replicas = replicas,
                                 .plan = &b->plan,
                                 .left = b->left};
    return exchange_open(&b->x, "mpi", &spec);
}

static enum vd_err exchange_once(struct bench *b, double *seconds)
{
    VD_TRY(comm_barrier(&b->comm, SITE_STEP));
    double start = clock_now();
    for (size_t at = 0; at < b->n; at += EXCHANGE_BUCKET) {
        size_t rest = b->n - at;
        struct range range = {
            .first = at, .n = rest < EXCHANGE_BUCKET ? rest : EXCHANGE_BUCKET};
        VD_TRY(b->x.ops->mean(&b->x, range));
    }
    VD_TRY(b->x.ops->settle(&b->x));
    *seconds = clock_now() - start;
    return VD_OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum vd_err run(struct bench *b, int replicas, size_t repeats)
{
    double *seconds = mem_new(repeats, sizeof *seconds);
    enum vd_err err = open_all(b, replicas);
    for (size_t i = 0; err == VD_OK && i < repeats; i++)
        err = exchange_once(b, &seconds[i]);
    qsort(seconds, repeats, sizeof *seconds, compare);
    if (err == VD_OK && b->comm.rank == 0)
        printf("%zu elements, %d ranks, %d replicas: best %.1f ms, median "
               "%.1f ms\n",
               b->n, b->comm.size, replicas, 1e3 * seconds[0],
               1e3 * seconds[repeats / 2]);
    free(seconds);
    return err;
}

int main(int argc, char **argv)
{
    struct bench b = {.n = argc > 1 ? strtoul(argv[1], NULL, 10) : 27700000};
    enum vd_err err = comm_open(&b.comm, &argc, &argv);
    int replicas = argc > 2 ? atoi(argv[2]) : b.comm.size;
    if (err == VD_OK)
        err = run(&b, replicas, argc > 3 ? strtoul(argv[3], NULL, 10) : 20);
    return comm_close(&b.comm, err);
}
