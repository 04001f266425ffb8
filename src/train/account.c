#include "train/account.h"

#include "base/mem.h"
#include "exchange/tree.h"

#include <stdlib.h>
#include <string.h>

void account_init(struct account *a, int room)
{
    int rank = a->comm->rank, size = a->comm->size;
    a->n_mine = (tree_first_replica(rank + 1, size, a->replicas) -
                 tree_first_replica(rank, size, a->replicas)) *
                a->micro_batch;
    a->room = room;
    a->steps = mem_new((size_t)room, sizeof *a->steps);
    a->losses = mem_new((size_t)room * (size_t)a->n_mine, 2 * sizeof(float));
}

void account_clear(struct account *a)
{
    free(a->steps);
    free(a->losses);
    *a = (struct account){0};
}

bool account_add(struct account *a, const struct account_step *step,
                 const struct result *results)
{
    float *to = a->losses + 2 * (size_t)a->n_mine * (size_t)a->n_steps;
    for (int i = 0; i < a->n_mine; i++) {
        to[2 * i] = results[i].l1;
        to[2 * i + 1] = results[i].ce;
    }
    a->steps[a->n_steps++] = *step;
    return a->n_steps == a->room;
}

static void add_picture(struct account *a, uint64_t position, const float *pair,
                        struct account_sum *step)
{
    const struct graph_loss *loss = a->loss;
    uint64_t epoch;
    uint64_t sample = sampler_at(&a->sampler, position, &epoch);
    double weight =
        loss->class_weights ? loss->class_weights[a->data->class[sample]] : 1;
    double l1 = (double)pair[0], ce = (double)pair[1];
    double total = loss->box_scale * l1 + loss->class_scale * weight * ce;
    VD_ASSERT(epoch - a->epoch < 2);
    struct account_sum *sums[] = {&a->sums[epoch - a->epoch], step};
    for (int i = 0; i < 2; i++) {
        sums[i]->n++;
        sums[i]->l1 += l1;
        sums[i]->ce += ce;
        sums[i]->loss += total;
    }
}

static enum vd_err add_row(struct account *a, const struct account_step *s,
                           const struct account_sum *sum)
{
    double n = (double)sum->n;
    return series_add(
        a->rows,
        "{\"step\": %llu, \"loss\": %.7g, \"box\": %.7g, \"class\": %.7g, "
        "\"lr\": %.6g, \"grad_norm\": %.6g, \"images_per_s\": %.2f, "
        "\"wait_share\": %.4f}\n",
        (unsigned long long)s->step, sum->loss / n, sum->l1 / n, sum->ce / n,
        s->lr, s->grad_norm, n / s->seconds, s->waited_s / s->seconds);
}

/* Step i of the buffer, from all ranks' rows; ranks are in position order. */
static enum vd_err add_step(struct account *a, int i, const char *all,
                            const size_t *sizes)
{
    struct account_sum sum = {0};
    uint64_t position = (a->steps[i].step - 1) * (uint64_t)a->replicas *
                        (uint64_t)a->micro_batch;
    for (int rank = 0; rank < a->comm->size; rank++) {
        size_t bytes = sizes[rank] / (size_t)a->n_steps;
        const char *from = all + (size_t)i * bytes;
        for (size_t at = 0; at < bytes; at += 2 * sizeof(float)) {
            float pair[2];
            memcpy(pair, from + at, sizeof pair);
            add_picture(a, position++, pair, &sum);
        }
        all += sizes[rank];
    }
    /* The ranks' pictures add up to the step's, and below to the epoch's. */
    VD_ASSERT(sum.n == (int64_t)a->replicas * a->micro_batch);
    return add_row(a, &a->steps[i], &sum);
}

enum vd_err account_flush(struct account *a)
{
    if (a->n_steps == 0)
        return VD_OK;
    void *all = NULL;
    size_t *sizes = mem_new((size_t)a->comm->size, sizeof *sizes);
    size_t bytes = 2 * sizeof(float) * (size_t)a->n_mine * (size_t)a->n_steps;
    enum vd_err err =
        comm_gather(a->comm, SITE_STEP, a->losses, bytes, &all, sizes);
    if (a->comm->rank == 0)
        for (int i = 0; i < a->n_steps && err == VD_OK; i++)
            err = add_step(a, i, all, sizes);
    a->n_steps = 0;
    mem_free(all);
    free(sizes);
    return err;
}

struct account_sum account_end_epoch(struct account *a)
{
    struct account_sum sum = a->sums[0];
    VD_ASSERT(a->comm->rank != 0 || sum.n == (int64_t)a->data->n_images);
    a->sums[0] = a->sums[1];
    a->sums[1] = (struct account_sum){0};
    a->epoch++;
    return sum;
}
